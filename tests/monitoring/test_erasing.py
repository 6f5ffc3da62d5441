"""Erasure in logs of past days, and in a database of a server."""

from __future__ import annotations

import time

from tunesmith.monitoring.erasing import erase_in_log
from tunesmith.monitoring.log_storage import DAY_S
from tunesmith.monitoring.prediction_log import Answer, Difference, PredictionLog, read_differences, read_log

HERS = "Zuleika wants her otter back"


def fill(place, mode):
    log, now = PredictionLog(place, mode), time.time()
    texts = [HERS, "the cat", HERS, "a dog", "a crow"]
    log.add(
        Answer(f"e{i}-0", now - (4 - i) * DAY_S, "a", text, {"label": "x"}, 0.1)
        for i, text in enumerate(texts)
    )
    log.add(
        [Difference("e2-0", now, "b", {"label": "y"}, 0.1), Difference("e3-0", now, "b", {"label": "y"}, 0.1)]
    )
    log.flush()
    log.storage.rotate(now - now % DAY_S)
    log.close()


def ids(place):
    return [row["id"] for row in read_log(place) if row["id"].startswith("e")]


def test_in_the_files_of_past_days(tmp_path):
    for mode in ("hashed", "text"):
        place = tmp_path / mode
        fill(place, mode)
        assert len(list(place.glob("*.parquet"))) >= 3
        assert erase_in_log(place, ["e4"], [HERS], dry_run=True) == 3
        assert len(ids(place)) == 5
        assert erase_in_log(place, ["e4"], [HERS], dry_run=False) == 3
        assert ids(place) == ["e1-0", "e3-0"]
        assert [one["answer"] for one in read_differences(place)] == ["e3-0"]
        assert erase_in_log(place, ["e4"], [HERS], dry_run=False) == 0


def test_in_a_database_of_a_server(postgresql):
    fill(postgresql, "hashed")
    assert erase_in_log(postgresql, ["e4"], [HERS], dry_run=False) == 3
    assert ids(postgresql) == ["e1-0", "e3-0"]
    assert [one["answer"] for one in read_differences(postgresql)] == ["e3-0"]
