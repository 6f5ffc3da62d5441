"""`tunesmith check` and `tunesmith.check`."""

import json

import pytest

import tunesmith as package
from tunesmith.checks import CHECKS, Check
from tunesmith.errors import RecipeError
from tunesmith.testing.tiny import tiny_rows, write_rows


@pytest.fixture
def files(tmp_path):
    rows = tiny_rows(120)
    return (
        write_rows(tmp_path / "train.csv", rows[:80]),
        write_rows(tmp_path / "test.csv", rows[60:]),
    )


def test_the_exit_code_is_3_for_what_blocks(tunesmith, files, tmp_path):
    train, test = files
    needing = Check("needs a model", lambda data: [], needs_features=True)
    with CHECKS.replaced("needing", needing):
        done = tunesmith("check", train, "--test", test, "--fast", "-o", tmp_path / "check.html", "--json")
    assert done.code == 3
    found = json.loads(done.out)
    assert found["findings"][0]["check"] == "leakage"
    assert "leakage" in (tmp_path / "check.html").read_text().lower()
    assert found["left_out"]["needing"] == "it needs the model"


def test_the_exit_code_is_2_for_wrong_input_and_nothing_is_written_over(tunesmith, files, tmp_path):
    train, _ = files
    assert tunesmith("check", tmp_path / "missing.csv").code == 2
    assert tunesmith("check").code == 2
    (tmp_path / "check.html").write_text("mine")
    done = tunesmith("check", train, "--fast", "-o", tmp_path / "check.html")
    assert done.code == 2
    done = tunesmith("check", train, "--fast", "--fix", train)
    assert done.code == 2
    assert "written over the original" in done.err


def test_findings_are_lines_and_the_copy_is_named(tunesmith, files, tmp_path):
    train, test = files
    done = tunesmith("check", train, "--test", test, "--fast", "--fix", tmp_path / "clean.csv")
    assert "!!  Leakage: " in done.out
    assert "leakage: " in done.out
    assert f"wrote {tmp_path / 'clean.csv'}: " in done.out
    assert "runs/check" not in done.err + done.out


def test_python_takes_what_train_takes(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = tiny_rows(120)[:80]
    texts, labels = [row["text"] for row in rows], [row["label"] for row in rows]
    found = package.check(texts, labels=labels, test=str(files[1]), fast=True, progress=False)
    assert found.is_blocking
    assert found.findings[0]["check"] == "leakage"
    assert "Leakage" in repr(found)
    assert "<table>" in found._repr_html_()
    page = found.report()
    assert page.path.read_text().startswith("<!doctype html>")
    with pytest.raises(RecipeError, match="already exists"):
        found.report()
    done = found.fix("clean.jsonl")
    assert done["files"]["clean.jsonl"] < 80
    with pytest.raises(TypeError, match=r"check.. has no keyword `labl`"):
        package.check(texts, labl=labels)
