"""The prediction log keeps what was answered, after a kill too, and no text that nobody asked it to keep."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet as parquet
import pytest

from tunesmith.errors import RecipeError
from tunesmith.monitoring import log_storage, prediction_log
from tunesmith.monitoring.prediction_log import Answer, PredictionLog, read_log

DAY = log_storage.DAY_S
ENTITY = {"entities": [{"entity_group": "PER", "word": "Ann Lee", "start": 0, "end": 7, "score": 0.9}]}


def answer(number, *, at=None, row="the left crank", given=None):
    given = {"label": "repair", "score": 0.9, "tokens": 5} if given is None else given
    return Answer(f"r-{number}", time.time() if at is None else at, "reviews", row, given, 0.01)


@pytest.fixture
def log(tmp_path):
    opened = PredictionLog(tmp_path / "log")
    yield opened
    opened.close()


def test_answers_are_kept_in_their_order(log, tmp_path):
    log.add(answer(i) for i in range(500))
    log.flush()
    rows = list(read_log(tmp_path / "log"))
    assert [row["id"] for row in rows] == [f"r-{i}" for i in range(500)]
    assert rows[0]["label"] == "repair"
    assert rows[0]["answer"] == {"label": "repair", "score": 0.9, "tokens": 5}
    assert (rows[0]["abstained"], rows[0]["truncated"]) == (None, False)


def test_a_hash_tells_equal_inputs_and_no_text(log, tmp_path):
    log.add([answer(0), answer(1), answer(2, row="another"), answer(3, row="Ann Lee", given=ENTITY)])
    log.flush()
    rows = list(read_log(tmp_path / "log"))
    assert rows[0]["input"] == rows[1]["input"] != rows[2]["input"]
    kept = b"".join(file.read_bytes() for file in (tmp_path / "log").iterdir())
    assert b"crank" not in kept
    assert b"Ann Lee" not in kept
    assert rows[3]["answer"]["entities"][0]["entity_group"] == "PER"


def test_the_same_text_has_another_hash_in_another_log(log, tmp_path):
    other = PredictionLog(tmp_path / "other")
    for it in (log, other):
        it.add([answer(0)])
        it.flush()
    other.close()
    first, second = (next(read_log(tmp_path / name))["input"] for name in ("log", "other"))
    assert first != second


def test_texts_are_kept_without_personal_data(tmp_path):
    log = PredictionLog(tmp_path / "log", mode="text")
    log.add(
        [
            answer(0, row="write to ann@example.org"),
            answer(1, row={"question": "who?", "context": "bob@x.org"}),
        ]
    )
    log.close()
    rows = list(read_log(tmp_path / "log"))
    assert rows[0]["text"] == "write to [EMAIL]"
    assert rows[1]["text"] == {"question": "who?", "context": "[EMAIL]"}


def test_odd_characters_block_no_other_answer(tmp_path, postgresql):
    """The trap: a row that the database refuses is tried again for ever, and all others behind it."""
    for place in (tmp_path / "log", postgresql):
        log = PredictionLog(place, mode="text")
        log.add([answer("odd", row="half \ud800 and \x00"), answer("odder", row={"text": "\udfff"})])
        log.add([answer("even")])
        log.flush()
        rows = {row["id"]: row for row in read_log(place)}
        log.delete(list(rows))
        log.close()
        assert rows["r-odd"]["text"] == "half ? and \x00"
        assert "r-even" in rows


def test_servers_that_begin_at_once_share_a_log(tmp_path):
    """Each found no tables, and all but one ended, since they were there by then."""
    start = threading.Barrier(4)

    def open_one(number):
        start.wait()
        opened = PredictionLog(tmp_path / "log")
        opened.add([answer(number)])
        opened.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(open_one, range(4)))
    assert {row["id"] for row in read_log(tmp_path / "log")} == {f"r-{i}" for i in range(4)}


@pytest.mark.parametrize("where", ["folder", "server"])
def test_an_answer_that_a_database_refuses_keeps_no_other_from_being_written(
    where, tmp_path, request, caplog
):
    """A number of tokens that no column holds: the batch was tried again for ever, and the queue filled up."""
    place = tmp_path / "log" if where == "folder" else request.getfixturevalue("postgresql")
    log = PredictionLog(place)
    base = f"refused-{where}"
    given = {"label": "a", "score": 0.5, "tokens": 3}
    answers = [Answer(f"{base}-{i}", time.time(), "reviews", "x", given, 0.1) for i in range(5)]
    answers[2] = Answer(f"{base}-2", time.time(), "reviews", "x", {**given, "tokens": 10**30}, 0.1)
    log.add(answers)
    log.flush()
    found = [row["id"] for row in read_log(place) if row["id"].startswith(base)]
    log.delete(found)
    log.close()
    assert found == [f"{base}-{i}" for i in (0, 1, 3, 4)]
    assert log.dropped == 1
    assert f"does not take the answer `{base}-2`" in caplog.text


def test_a_log_that_cannot_be_written_does_not_hang_its_callers(log, monkeypatch):
    monkeypatch.setattr(prediction_log, "_PATIENCE_S", 0.1)
    monkeypatch.setattr(prediction_log, "_LAST_TRIES_S", 0.1)
    monkeypatch.setattr(prediction_log, "_RETRY_S", 0.05)
    monkeypatch.setattr(log, "_wrote", lambda rows: False)
    log.add([answer(0)])
    with pytest.raises(TimeoutError, match="cannot be written"):
        log.feedback("r-0", "warranty")


def test_feedback_belongs_to_an_answer(log, tmp_path):
    log.add([answer(0)])
    assert log.feedback("r-0", "warranty", by="ann")
    assert log.feedback("r-0", ["sales"], by="bob")
    assert not log.feedback("r-9", "warranty")
    [row] = read_log(tmp_path / "log")
    assert row["feedback"]["label"] == ["sales"]
    assert row["feedback"]["by"] == "bob"


def fill_three_days(log):
    now = time.time()
    log.add(answer(i, at=now - (2 - i // 100) * DAY) for i in range(300))
    log.flush()
    log.storage.rotate(now - now % DAY)


def test_past_days_become_parquet(log, tmp_path):
    fill_three_days(log)
    files = log.storage.files()
    assert [parquet.read_table(file).num_rows for file in files] == [100, 100]
    assert [row["id"] for row in read_log(tmp_path / "log")] == [f"r-{i}" for i in range(300)]
    assert log.feedback("r-5", "warranty")
    assert (
        next(row for row in read_log(tmp_path / "log") if row["id"] == "r-5")["feedback"]["label"]
        == "warranty"
    )


def test_a_kill_between_file_and_database_leaves_no_row_twice(log, tmp_path, monkeypatch):
    monkeypatch.setattr(log.storage, "_remove", lambda ids: (_ for _ in ()).throw(RuntimeError))
    with pytest.raises(RuntimeError):
        fill_three_days(log)
    assert [row["id"] for row in read_log(tmp_path / "log")] == [f"r-{i}" for i in range(300)]


def test_a_busy_day_becomes_several_files(log, monkeypatch):
    monkeypatch.setattr(log_storage, "_MOST_ROWS", 40)
    log.add(answer(i) for i in range(100))
    log.flush()
    log.storage.rotate(0.0)
    assert [parquet.read_table(file).num_rows for file in log.storage.files()] == [40, 40]


def test_answers_are_deleted_wherever_they_are(log, tmp_path):
    fill_three_days(log)
    log.feedback("r-5", "warranty")
    assert log.delete(["r-5", "r-250", "r-none"]) == 2
    left = [row["id"] for row in read_log(tmp_path / "log")]
    assert len(left) == 298
    assert not {"r-5", "r-250"} & set(left)
    assert log.delete([f"r-{i}" for i in range(100)]) == 99
    assert len(log.storage.files()) == 1


def test_old_answers_are_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr(prediction_log, "_ROTATE_S", 0.0)
    log = PredictionLog(tmp_path / "log", days=1.5)
    fill_three_days(log)
    log.flush()
    log.close()
    assert [row["id"] for row in read_log(tmp_path / "log")] == [f"r-{i}" for i in range(100, 300)]


def test_a_full_queue_is_counted_and_never_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(prediction_log, "_MOST_WAITING", 10)
    log = PredictionLog(tmp_path / "log")
    monkeypatch.setattr(log, "_wrote", lambda rows: False)
    log.add([answer(0)])
    time.sleep(2 * prediction_log.FLUSH_S)
    log.add(answer(i) for i in range(1, 31))
    assert log.dropped == 20
    monkeypatch.undo()
    log.close()
    assert len(list(read_log(tmp_path / "log"))) == 11


def test_a_database_that_is_away_for_a_moment_loses_nothing(log, tmp_path, monkeypatch):
    monkeypatch.setattr(prediction_log, "_RETRY_S", 0.01)
    add, tried = log.storage.add, []

    def broken(rows):
        tried.append(len(rows))
        if len(tried) < 3:
            raise OSError("no space left on device")
        add(rows)

    monkeypatch.setattr(log.storage, "add", broken)
    log.add(answer(i) for i in range(5))
    log.flush()
    assert tried == [5, 5, 5]
    assert len(list(read_log(tmp_path / "log"))) == 5


WRITER = """import sys, time
from tunesmith.monitoring.prediction_log import Answer, PredictionLog
log = PredictionLog(sys.argv[1])
for i in range(10**6):
    log.add([Answer(f"r-{i}", time.time(), "reviews", "x", {"label": "a", "score": 0.5}, 0.1)])
    print(i, time.time(), flush=True)
    time.sleep(0.001)
"""


def test_a_kill_loses_only_the_last_moment(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        lines = [writer.stdout.readline().split()]
        while float(lines[-1][1]) < float(lines[0][1]) + 6 * prediction_log.FLUSH_S:
            lines.append(writer.stdout.readline().split())
        os.kill(writer.pid, signal.SIGKILL)
    killed = float(lines[-1][1])
    kept = {row["id"] for row in read_log(tmp_path / "log")}
    older = {f"r-{number}" for number, at in lines if float(at) < killed - 3 * prediction_log.FLUSH_S}
    assert older
    assert older <= kept


def test_a_database_of_a_server_keeps_the_same(postgresql):
    log = PredictionLog(postgresql, mode="text")
    fill_three_days(log)
    assert log.feedback("r-250", "warranty", by="ann")
    assert log.delete(["r-251", "r-none"]) == 1
    again = PredictionLog(postgresql)
    assert again._key == log._key
    again.close()
    log.close()
    rows = {row["id"]: row for row in read_log(postgresql)}
    assert len(rows) == 299
    assert rows["r-250"]["feedback"]["label"] == "warranty"
    assert rows["r-0"]["text"] == "the left crank"


def test_an_unknown_mode(tmp_path):
    with pytest.raises(RecipeError, match="`loud` is not a way to log"):
        PredictionLog(tmp_path / "log", mode="loud")


def test_a_database_that_cannot_be_reached():
    with pytest.raises(RecipeError, match="cannot be used") as found:
        PredictionLog("postgresql://me:secret@127.0.0.1:1/log")
    assert "secret" not in str(found.value)


@pytest.mark.parametrize(
    "place",
    [
        "postgresql://me:s3cret@host:port/log",
        "postgresql://me:s3 cret@127.0.0.1:1/s3cret",
        "postgresql://me:s3c@ret@h:1x/log",
    ],
)
def test_a_wrong_address_is_said_without_its_password(place):
    with pytest.raises(RecipeError, match="the database of the log cannot be used") as refused:
        PredictionLog(place)
    assert "me:s3c" not in str(refused.value)
    assert "s3 cret" not in str(refused.value)


def test_a_variable_stands_for_the_password(postgresql, monkeypatch):
    scheme, _, rest = postgresql.partition("://")
    monkeypatch.setenv("WHERE", rest)
    assert list(read_log(f"{scheme}://${{WHERE}}")) == list(read_log(postgresql))
    monkeypatch.delenv("WHERE")
    with pytest.raises(RecipeError, match="needs the environment variable WHERE, which is not set"):
        list(read_log(f"{scheme}://${{WHERE}}"))


def test_any_tool_reads_the_files(log):
    fill_three_days(log)
    table = parquet.read_table(log.storage.files()[0])
    assert json.loads(table.column("answer")[0].as_py()) == {"label": "repair", "score": 0.9, "tokens": 5}


def test_what_is_doubtful_is_kept_for_every_kind_of_answer(log, tmp_path):
    doubtful = {"label": "a", "score": 0.5, "abstained": True, "out_of_scope": {"score": 1.2, "is_out": True}}
    sure = {**doubtful, "abstained": False, "out_of_scope": {"score": 0.2, "is_out": False}}
    entities = {"entities": [], "abstained": ENTITY["entities"]}
    log.add(
        answer(i, given=given)
        for i, given in enumerate((doubtful, sure, entities, {**entities, "abstained": []}))
    )
    log.flush()
    rows = list(read_log(tmp_path / "log"))
    assert [row["abstained"] for row in rows] == [True, False, True, False]
    assert [row["out_of_scope"] for row in rows] == [True, False, None, None]


def test_a_log_that_cannot_be_written_holds_up_no_end(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(prediction_log, "_RETRY_S", 0.01)
    monkeypatch.setattr(prediction_log, "_LAST_TRIES_S", 0.1)
    broken = PredictionLog(tmp_path / "log")
    monkeypatch.setattr(broken.storage, "add", lambda rows: 1 / 0)
    broken.add([answer(0)])
    time.sleep(0.4)
    began = time.monotonic()
    broken.close()
    assert time.monotonic() - began < 5
    assert "cannot be written" in caplog.text
