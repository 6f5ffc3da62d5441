"""A run in a worker: its lane, and what the front has to know of it."""

from __future__ import annotations

import itertools
import json
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.inference.continuous import writes_by_tokens
from tunesmith.inference.forward import tokens_per_pass
from tunesmith.inference.predictor import Predictor
from tunesmith.serving.answering_first import AnsweringFirst
from tunesmith.serving.lane import Lane
from tunesmith.serving.writing_lane import WritingLane

if TYPE_CHECKING:
    from tunesmith.serving.lane import Reply
    from tunesmith.types import JsonObject

_SPLITS = ("validation", "test")
_READ_LINES, _EXAMPLES, _MOST_CHARACTERS = 200, 5, 1500


def open_lane(name: str, folder: str, reply: Reply, cascade: JsonObject | None = None) -> Lane:
    """The lane of a run or an export, at work in a thread of its own, which has loaded the model, too.

    One thread does all that computes. GNU's OpenMP keeps a team of threads for each thread that has computed. If
    they are more than the cores, all of them sleep at once where they would have waited a moment for each other: a
    lone request of a MiniLM classifier on two cores took 16 ms then, and 10 ms without.

    Args:
        name: of the run.
        folder: that of the run or the export.
        reply: sends messages to the front.
        cascade: folder and threshold of a first stage; None without one.

    Raises:
        RunError: the folder holds neither.
    """
    opened: Future[Lane] = Future()

    def work() -> None:
        try:
            predictor = Predictor.from_run(folder)
            first = None if cascade is None else AnsweringFirst.of(cascade, predictor)
            if writes_by_tokens(predictor):
                lane: Lane = WritingLane(name, predictor, reply)
            else:
                lane = Lane(name, predictor, reply, first)
        except BaseException as error:
            opened.set_exception(error)
            return
        opened.set_result(lane)
        lane.work()

    threading.Thread(target=work, name=f"lane {name}", daemon=True).start()
    return opened.result()


def facts_of_run(run: JsonObject, predictor: Predictor) -> JsonObject:
    """What the front has to know of a run: plain JSON."""
    task, trust = predictor.task, predictor.trust
    return {
        **{name: value for name, value in run.items() if name != "files"},
        "task": task.name,
        "labels": predictor.labels,
        "max_length": predictor.max_length,
        "needed": list(predictor.needed),
        "inputs": list(task.inputs),
        "text_column": task.text_column if set(predictor.needed) <= {task.text_column} else "",
        "takes_pairs": "text_pair" in predictor.needed,
        "alternatives": task.alternatives.key if task.alternatives is not None else "",
        "entries": task.confidence.key if task.confidence is not None else "",
        "generates": task.generation is not None,
        "streams": writes_by_tokens(predictor),
        "chats": task.chat is not None and task.instruction is None,
        "masks": task.masking is not None,
        "embeds": _embeds(predictor),
        "compares": task.vectors is not None,
        "max_error": trust.abstention.max_error if trust.abstention is not None else None,
        "examples": _examples(str(run["run"]), predictor),
        "pipeline": task.pipeline.tag if task.pipeline is not None else task.name,
        "dtype": "bfloat16" if predictor.bf16 else "float32",
        "batch_tokens": tokens_per_pass(predictor.model),
        "notes": list(predictor.notes),
    }


def _embeds(predictor: Predictor) -> bool:
    """Whether a text has a vector, see `Embedder`."""
    from tunesmith.errors import ModelError
    from tunesmith.inference.embedder import Embedder

    try:
        Embedder(predictor)
    except ModelError:
        return False
    return True


def _examples(folder: str, predictor: Predictor) -> list[JsonObject]:
    """A few inputs of validation or test rows, where the run folder holds them."""
    predicted = Path(folder) / "predictions"
    file = next((found for name in _SPLITS if (found := predicted / f"{name}.jsonl").is_file()), None)
    if file is None:
        return []
    with file.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in itertools.islice(lines, _READ_LINES)]
    inputs = [{name: row[name] for name in predictor.task.shown if row.get(name)} for row in rows]
    short = [row for row in inputs if len(json.dumps(row)) < _MOST_CHARACTERS]
    return short[:: max(len(short) // _EXAMPLES, 1)][:_EXAMPLES]
