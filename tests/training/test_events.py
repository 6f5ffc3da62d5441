import json

from tunesmith.training.events import EventLog


def test_going_on_drops_what_came_after_and_half_a_line(tmp_path):
    file = tmp_path / "events.jsonl"
    log = EventLog(file)
    log.begin(0)
    for step in (1, 2, 3):
        log.write("step", step, loss=1.0 / step)
    with file.open("a") as handle:
        handle.write('{"kind": "st')
    log.begin(2)
    log.write("step", 3, loss=9.0)
    assert [json.loads(line)["step"] for line in file.read_text().splitlines()] == [1, 2, 3]
    assert json.loads(file.read_text().splitlines()[-1])["loss"] == 9.0


def test_beginning_anew_empties_it_and_nan_is_null(tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    log.begin(0)
    log.write("step", 1, loss=float("nan"))
    assert json.loads((tmp_path / "events.jsonl").read_text())["loss"] is None
    log.begin(0)
    assert (tmp_path / "events.jsonl").read_text() == ""
