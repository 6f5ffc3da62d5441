"""A worker process: holds the runs and answers what the front sends.

    python -m tunesmith.serving.worker FD

FD is a socket to the front. The first message names the runs; the worker loads them and says what they are, or why
it cannot. It ends when the socket does, so that it never outlives the front. Signals are left to the front.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING

from tunesmith.errors import TunesmithError, first_line
from tunesmith.serving.wire import Frames, pack

if TYPE_CHECKING:
    from tunesmith.serving.lane import Lane
    from tunesmith.types import JsonObject

_READ_BYTES = 1 << 20
_NICENESS = 10
"""Of a worker whose answers nobody waits for."""


class Connection:
    """The socket to the front; several threads send.

    Args:
        peer: the socket.
    """

    def __init__(self, peer: socket.socket) -> None:
        self._peer, self._lock, self._frames = peer, threading.Lock(), Frames()

    def send(self, *messages: JsonObject) -> None:
        """Sends messages; the front may be gone, and then nobody waits for them."""
        data = b"".join(map(pack, messages))
        try:
            with self._lock:
                self._peer.sendall(data)
        except OSError:
            logging.getLogger(__name__).debug("the front is gone")

    def receive(self) -> list[JsonObject] | None:
        """The messages that are there; None at the end."""
        while True:
            try:
                data = self._peer.recv(_READ_BYTES)
            except OSError:
                return None
            if not data:
                return None
            if messages := self._frames.feed(data):
                return messages


def serve(peer: socket.socket) -> None:
    """Answers until the front is gone."""
    connection = Connection(peer)
    first = connection.receive()
    if not first:
        return
    try:
        lanes, facts = _load(first[0], connection)
    except TunesmithError as error:
        connection.send({"failed": {"rule": error.rule, "remedy": error.remedy, "place": error.location}})
        return
    except Exception as error:
        logging.getLogger(__name__).exception("a run cannot be loaded")
        connection.send({"failed": {"rule": first_line(error), "remedy": "", "place": ""}})
        return
    connection.send({"ready": facts})
    intake = Intake(lanes)
    intake.take(first[1:])
    while (messages := connection.receive()) is not None:
        intake.take(messages)


def _load(config: JsonObject, connection: Connection) -> tuple[dict[str, Lane], list[JsonObject]]:
    from tunesmith.run import Run
    from tunesmith.run.completeness import refuse_changed
    from tunesmith.serving.loading import facts_of_run, open_lane

    lanes, facts = {}, []
    if config["is_background"]:
        os.nice(_NICENESS)
    for run in config["runs"]:
        if run["files"]:  # a registry has said which
            refuse_changed(Run.open(run["run"]), run["files"])
        lane = lanes[run["name"]] = open_lane(run["name"], run["folder"], connection.send, run["cascade"])
        facts.append(facts_of_run(run, lane.predictor))
    return lanes, facts


class Intake:
    """Sorts what comes from the front.

    Args:
        lanes: by the name of the run.
    """

    def __init__(self, lanes: dict[str, Lane]) -> None:
        from tunesmith.serving.batching import Job

        self._lanes, self._make_job = lanes, Job
        self._jobs: dict[int, Job] = {}

    def take(self, messages: list[JsonObject]) -> None:
        """Takes requests and cancels others; requests for one run are encoded together."""
        asked: dict[str, list[int]] = {}
        self._forget()
        for message in messages:
            number = int(message["id"])
            if message["op"] == "cancel":
                if job := self._jobs.pop(number, None):
                    job.is_over = True
                continue
            self._jobs[number] = self._make_job(number, message, len(message["rows"]))
            asked.setdefault(message["run"], []).append(number)
        for name, numbers in asked.items():
            self._lanes[name].take_in([self._jobs[number] for number in numbers if number in self._jobs])

    def _forget(self) -> None:
        over = [number for number, job in self._jobs.items() if job.is_over]
        for number in over:
            del self._jobs[number]


def main() -> None:
    """The process."""
    from tunesmith._telemetry import switch_off_telemetry
    from tunesmith.process import set_process_options

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    switch_off_telemetry()
    set_process_options()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    serve(socket.socket(fileno=int(sys.argv[1])))
    logging.shutdown()
    os._exit(0)  # nothing is left to be written, and the threads of the lanes wait for ever


if __name__ == "__main__":
    main()
