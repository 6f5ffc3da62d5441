import json

from tunesmith.events import Evaluation, Events, Note, Saved, Started, Step, Warning
from tunesmith.pipeline.event_log import EventLog


def step(number, loss=0.5, is_logged=True):
    return Step(number, 10, 0.1, loss, 1.0, 1e-4, 1000.0, 60.0, is_logged)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_happened_before_the_folder_is_there_is_written_when_it_is(tmp_path):
    log, path = EventLog(), tmp_path / "events.jsonl"
    log(Warning("some rows are strange"))
    assert not path.exists()
    log.open(path, resumes=False)
    log(Note("enough"))
    assert [(line["kind"], line["text"]) for line in lines(path)] == [
        ("warning", "some rows are strange"),
        ("note", "enough"),
    ]


def test_a_resumed_run_drops_what_the_lost_start_did_later_and_half_a_line(tmp_path):
    path = tmp_path / "events.jsonl"
    log = EventLog()
    log.open(path, resumes=False)
    for event in (
        Started(0, 10),
        step(1),
        step(2),
        Saved(2),
        Warning("hot"),
        step(3),
        Evaluation(3, {"f1": 1.0}, "f1", True),
    ):
        log(event)
    with path.open("a") as file:
        file.write('{"kind": "st')
    log = EventLog()
    log(Note("again"))
    log.open(path, resumes=True)
    log(Started(2, 10))
    log(step(3, loss=9.0))
    found = [(line["kind"], line["step"]) for line in lines(path)]
    assert found == [("step", 1), ("step", 2), ("checkpoint", 2), ("warning", 2), ("note", 0), ("step", 3)]
    assert lines(path)[-1]["loss"] == 9.0


def test_a_new_run_empties_it_and_nan_is_null(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text("an earlier run\n")
    log = EventLog()
    log.open(path, resumes=False)
    log(step(1, loss=float("nan")))
    assert lines(path)[0]["loss"] is None
    log(step(2, is_logged=False))
    assert len(lines(path)) == 1


def test_every_listener_gets_every_event_in_order():
    heard = []
    events = Events(
        (lambda event: heard.append(("first", event)), lambda event: heard.append(("second", event)))
    )
    events.note("a")
    events.progress("texts")(1, 2)
    assert [name for name, _ in heard] == ["first", "second"] * 2
    assert heard[0][1] == Note("a")
