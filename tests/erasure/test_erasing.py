"""A person's rows are removed wherever a run, a log or the cache has them, and the next training does without."""

from __future__ import annotations

import html
import json
import shlex
import shutil
import time

import pytest

import tunesmith as package
from tunesmith.data.excluding import add_fingerprints, read_fingerprints
from tunesmith.erasure.run_files import Cleaner
from tunesmith.erasure.wanted import Wanted
from tunesmith.errors import DataError
from tunesmith.monitoring.prediction_log import Answer, Difference, PredictionLog, read_differences, read_log
from tunesmith.run import Run
from tunesmith.run.checksums import with_sum
from tunesmith.testing.tiny import different_rows, write_rows, write_tiny_model
from tunesmith.testing.tiny_tasks import TINY_TASKS

HERS = (
    "Zuleika Dobson <zd@example.org> wants her yellow otter back, near Oxford",
    "The purple goat of Zuleika Dobson & Sons was never paid for",
)
IN_TRAIN, IN_TEST = 17, 5


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose rows 17 of the training and 5 of the test file are those of customer 4711."""
    folder = tmp_path_factory.mktemp("erasure")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNESMITH_CACHE", str(folder / "cache"))
        rows = [
            {**row, "customer": str(i)}
            for i, row in enumerate(different_rows(TINY_TASKS.get("text-classification").make, 72, seed=0))
        ]
        parts = {"train": rows[:48], "validation": rows[48:60], "test": rows[60:]}
        for part, number, text in (("train", IN_TRAIN, HERS[0]), ("test", IN_TEST, HERS[1])):
            parts[part][number] |= {"text": text, "customer": "4711"}
        files = {part: write_rows(folder / f"{part}.csv", some) for part, some in parts.items()}
        write_tiny_model(folder / "base")
        package.train(
            files["train"], label="label", text="text", model=folder / "base", output_dir=folder / "runs" / "a",
            method="probe", validation=files["validation"], test=files["test"], progress=False,
            overrides={"evaluate.bootstrap_samples": 100, "evaluate.slices": ["customer"]},
        )  # fmt: skip
    return folder


@pytest.fixture
def place(trained, tmp_path, monkeypatch):
    """A copy of all of it; the run names the copied files."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    manifest = tmp_path / "runs" / "a" / "manifest.json"
    moved = json.loads(manifest.read_text().replace(str(trained), str(tmp_path)))
    manifest.write_text(json.dumps(with_sum(moved)))
    recipe = tmp_path / "runs" / "a" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(str(trained), str(tmp_path)))
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def holding(folder, *texts):
    """The files below a folder that have a text, as it is, in JSON, or in HTML; also a half of it."""
    halves = [half for text in texts for half in (text[: len(text) // 2], text[len(text) // 2 :])]
    forms = {form.encode() for half in halves for form in (half, json.dumps(half)[1:-1], html.escape(half))}
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and any(form in path.read_bytes() for form in forms)
    }


def test_all_that_a_run_has_of_a_customer_goes_and_the_next_training_is_without(place, tunesmith):
    run = Run(place / "runs" / "a")
    before = holding(run.path, *HERS)
    assert {"predictions/test.jsonl", "report.html"} <= before
    looked = json.loads(tunesmith("forget", "runs", "--where", "customer=4711", "--dry-run", "--json").out)
    assert holding(run.path, *HERS) == before
    found = json.loads(tunesmith("forget", "runs", "--where", "customer=4711", "--json").out)
    (told,) = found["runs"]
    assert looked["runs"][0] == told
    assert told["rows"] == [f"test.csv:{IN_TEST + 2}", f"train.csv:{IN_TRAIN + 2}"]
    assert told["trained_on"] == 1
    assert found["trained_on"] == ["runs/a"]
    assert found["cache"]["entries"] > 0
    assert not list((place / "cache").glob("*/[0-9a-f]*"))
    assert holding(run.path, *HERS) == set()
    for file in run.path.rglob("*.jsonl"):  # nor does a slice name her
        assert '"4711"' not in file.read_text()
    assert Run.open(run.path).problems() == []
    lines = [json.loads(line) for line in (run.predictions / "test.jsonl").read_text().splitlines()]
    assert lines[IN_TEST]["row"] == f"test.csv:{IN_TEST + 2}"
    assert lines[IN_TEST]["text"] == ""
    assert lines[IN_TEST]["prediction"]["label"]
    assert all(line["text"] for i, line in enumerate(lines) if i != IN_TEST)
    again = package.forget(run.path, where={"customer": "4711"})
    assert set(again.runs[0].files) <= {"report.html (written again)"}
    assert len(read_fingerprints(found["exclude"])) == 2
    assert package.load(run.path)("the red cat")["label"]
    copy = shutil.copytree(run.path, place / "copy")
    assert package.compare(run.path, copy)
    done = tunesmith(*shlex.split(told["retrain"])[1:])
    assert done.code == 0, done.err
    new = Run.open(place / "runs" / "a-without")
    assert new.manifest()["data"]["rows"] == {"train": 47, "validation": 12, "test": 11}
    assert holding(new.path, *HERS) == set()
    assert package.forget(new.path, text=HERS).trained_on == []
    assert holding(place, HERS[0]) == {"train.csv"}  # a user's own files are left


def test_a_text_that_nothing_has_leaves_the_cache(place):
    entries = sorted((place / "cache").glob("*/[0-9a-f]*"))
    assert entries
    found = package.forget(place / "runs" / "a", text="Nobody has ever said this about an otter.")
    assert found.is_empty
    assert found.cache == {}
    assert sorted((place / "cache").glob("*/[0-9a-f]*")) == entries
    (place / "train.csv").unlink()  # it may have had the text
    assert package.forget(place / "runs" / "a", text="Nobody has ever said this.").cache["entries"] == len(
        entries
    )
    assert not list((place / "cache").glob("*/[0-9a-f]*"))


def test_a_text_is_forgotten_in_a_log_of_hashes_and_leaves_no_byte(place):
    for mode in ("hashed", "text"):
        log = PredictionLog(place / mode, mode)
        rows = [HERS[1], {"text": HERS[1]}, "the cat is here", "an otter walked by", HERS[1] + "!"]
        log.add(Answer(f"r{i}-0", time.time(), "a", row, {"label": "x"}, 0.1) for i, row in enumerate(rows))
        log.add([Difference("r0-0", time.time(), "b", {"label": "zweihundert"}, 0.1)])
        log.flush()
        log.feedback("r3-0", "colour")
        found = package.forget(place / "runs" / "a", text=HERS[1], log=place / mode, id="r3")
        assert found.logs == {str(place / mode): 3}
        log.close()
        assert {row["id"] for row in read_log(place / mode)} == {"r2-0", "r4-0"}
        assert not list(read_differences(place / mode))
    assert holding(place / "text", "an otter walked by", "zweihundert") == set()
    kept = [row["text"] for row in read_log(place / "text")]
    assert kept[1].endswith("paid for!")


def test_rows_are_known_by_their_ids_and_without_their_data(place, tunesmith):
    run = place / "runs" / "a"
    (place / "test.csv").unlink()
    found = package.forget(run, row_id=[f"test.csv:{IN_TEST + 2}", "train.csv:2"])
    (told,) = found.runs
    assert told.rows == (f"test.csv:{IN_TEST + 2}", "train.csv:2")
    assert told.trained_on == 1
    assert "test.csv" in told.unread[0]
    assert holding(run, HERS[1]) == set()
    (place / "test.csv").write_text("text,label\nx,y\n")
    shown = tunesmith("forget", "runs", "--row-id", "train.csv:3").out
    assert "the model was trained on 1 of these texts" in shown
    assert "data.exclude=forgotten.txt" in shown
    assert "nothing of this was found" in tunesmith("forget", "runs", "--row-id", "train.csv:3000").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("forget", "runs"), "whom to forget"),
        (("forget", "--text", "x"), "no place to look"),
        (("forget", "runs", "--id", "7"), "need a log"),
        (("forget", "--log", "none", "--text", "x"), "has no prediction log"),
        (("forget", "--log", "none", "--row-id", "a:1"), "need runs"),
        (("forget", "nowhere", "--text", "x"), "is not there"),
    ],
)
def test_what_is_refused(place, tunesmith, arguments, said):
    done = tunesmith(*arguments)
    assert done.code == 2
    assert said in done.err
    assert not (place / "none").exists()


def test_parts_of_a_text_are_found_and_labels_stay():
    wanted = Wanted(frozenset({"a.csv:2"}), frozenset({"please refund my blue bicycle", "refund"}))
    cleaner = Cleaner(wanted, ["refund", "other"])
    kept = {"text": "blue", "gold": "refund", "n": [1, 2.5, None], "other": "please refund his blue bicycle"}
    assert cleaner.clean(kept) == kept
    value = {
        "cut": "… refund my blue bi…",
        "whole": "Please",
        "in": "she wrote: please refund my  blue bicycle.",
    }
    assert cleaner.clean(value) == {"cut": "", "whole": "Please", "in": ""}
    line = {"row": "a.csv:2", "gold": "refund", "why": {"note": "rude", "p": 0.5}, "words": ["Ann"]}
    assert cleaner.clean([line]) == [
        {"row": "a.csv:2", "gold": "refund", "why": {"note": "", "p": 0.5}, "words": [""]}
    ]
    finding = {"file": "/data/a.csv", "line": 2, "check": "personal_data", "note": "ann@example.org"}
    assert cleaner.clean(finding) == {**finding, "note": ""}
    other = {"file": "/data/aa.csv", "line": 2, "note": "ben@example.org"}
    assert cleaner.clean(other) == other


def test_a_file_of_fingerprints(tmp_path):
    file = tmp_path / "out.txt"
    assert add_fingerprints(file, [2**64 - 1, 0]) == 2
    assert add_fingerprints(file, [7, 0]) == 1
    assert sorted(read_fingerprints(file).tolist()) == [0, 7, 2**64 - 1]
    file.write_text("# a remark\n\n000000000000002a  # Ann\nxyz\n")
    with pytest.raises(DataError, match=r"out\.txt, line 4: a fingerprint must have 16"):
        read_fingerprints(file)
    with pytest.raises(DataError, match="cannot be read"):
        read_fingerprints(tmp_path / "none.txt")
