"""What people get wrong: one screen with rule, value and remedy, exit code 2, nothing overwritten."""

import json
import shutil
import subprocess
import sys

import pytest

from tunesmith.testing.tiny import tiny_rows, write_rows

ROWS = tiny_rows(40)


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def csv(folder, rows=None, name="data.csv"):
    return write_rows(folder / name, ROWS if rows is None else rows)


def missing_file(tmp, model):
    return ["train", "--data", tmp / "nothing.csv"], "no such file", "nothing.csv"


def empty_file(tmp, model):
    return ["train", "--data", write(tmp, "empty.csv", "")], "is empty", "header and rows"


def header_only(tmp, model):
    return ["train", "--data", write(tmp, "head.csv", "text,label\n")], "has no rows", "below its header"


def one_class_only(tmp, model):
    rows = [{**row, "label": "same"} for row in ROWS]
    return ["train", "--data", csv(tmp, rows)], "needs two labels or more", "--column label=COLUMN"


def label_only_in_test(tmp, model):
    test = csv(tmp, [*ROWS[:3], {"text": "new words", "label": "vegetable"}], "test.csv")
    return (
        ["train", "--data", csv(tmp), "--test", test],
        "label `vegetable` does not occur",
        "test.csv, line 5",
    )


def binary_file(tmp, model):
    return ["train", "--data", write(tmp, "data.csv", bytes(range(256)))], "is a binary file", "UTF-8"


def wrong_encoding(tmp, model):
    content = "text,label\ncafé au lait,a\nthé vert,b\n".encode("latin-1")
    return ["train", "--data", write(tmp, "data.csv", content)], "not UTF-8", "data.csv, line 2"


def one_row_file(tmp, model):
    return ["train", "--data", csv(tmp, ROWS[:1])], "needs two labels or more", "add rows"


def two_rows(tmp, model):
    rows = [{"text": "a cat", "label": "x"}, {"text": "red", "label": "y"}]
    return ["train", "--data", csv(tmp, rows)], "leaves a side empty", "choose another share"


def column_that_does_not_exist(tmp, model):
    return ["train", "--data", csv(tmp), "--column", "text=revue"], "no column `revue`", "`text`, `label`"


def column_of_no_task(tmp, model):
    return ["train", "--data", csv(tmp), "--column", "texte=text"], "no task has a column `texte`", "`text`"


def misspelt_recipe_key(tmp, model):
    recipe = write(tmp, "recipe.yaml", "data: {train: data.csv}\ntrain:\n  learning_rte: 1e-4\n")
    csv(tmp)
    return (
        ["train", recipe],
        "recipe.yaml, line 3: `train.learning_rte`",
        "Did you mean `train.learning_rate`?",
    )


def misspelt_override(tmp, model):
    return ["train", "--data", csv(tmp), "train.epoch=3"], "argument `train.epoch=3`", "Did you mean"


def value_out_of_bounds(tmp, model):
    return ["train", "--data", csv(tmp), "lr=-1"], "a number above 0 and at most 1", "got -1"


def folder_without_data(tmp, model):
    return ["train", tmp], "holds no `LABEL/*.txt` files", "name the data files"


def model_directory_without_model(tmp, model):
    (tmp / "no-model").mkdir()
    return (
        ["train", "--data", csv(tmp), "--model", tmp / "no-model"],
        "must have a config.json",
        "save_pretrained",
    )


def model_that_is_nowhere(tmp, model):
    return (
        ["train", "--data", csv(tmp), "--model", "nobody/nothing"],
        "is not found",
        "local Hub cache",
    )


def pickled_model(tmp, model):
    folder = shutil.copytree(model, tmp / "pickled")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    return ["train", "--data", csv(tmp), "--model", folder], "pickled", "any code"


def unknown_task(tmp, model):
    return ["train", "--data", csv(tmp), "--task", "text-clasification"], "not a task", "text-classification"


def unknown_method(tmp, model):
    rule = "train.method must be `auto` or `probe` or `contrastive` or `full` or `lora`"
    return ["train", "--data", csv(tmp), "train.method=lorra"], rule, "got lorra"


def output_folder_of_something_else(tmp, model):
    write(tmp / "out", "thesis.txt", "mine") if (tmp / "out").mkdir() is None else None
    return ["train", "--data", csv(tmp), "--output-dir", tmp / "out"], "holds no run", "Choose another"


def predicting_without_a_run(tmp, model):
    return ["predict", tmp / "nothing", "a text"], "must hold what `tunesmith train` wrote", "is not there"


def too_few_fields(tmp, model):
    data = write(tmp, "data.csv", "text,label\na cat,x\nonly text\nred,y\nblue,y\n")
    return ["train", "--data", data], "1 of 4 rows cannot be used", "data.bad_rows=set_aside"


def a_word_file(tmp, model):
    return ["train", "--data", write(tmp, "data.docx", "PK")], "no known format", ".csv"


CASES = [
    missing_file, empty_file, header_only, one_class_only, label_only_in_test, binary_file, wrong_encoding,
    one_row_file, two_rows, column_that_does_not_exist, column_of_no_task, misspelt_recipe_key,
    misspelt_override, value_out_of_bounds, folder_without_data, model_directory_without_model,
    model_that_is_nowhere,
    pickled_model, unknown_task, unknown_method, output_folder_of_something_else, predicting_without_a_run,
    too_few_fields, a_word_file,
]  # fmt: skip


def snapshot(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_one_screen_error_with_exit_code_2(tunesmith, tiny_model, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    arguments, rule, remedy = case(tmp_path, tiny_model)
    if arguments[0] == "train" and "--model" not in arguments:
        arguments += ["--model", tiny_model]
    before = snapshot(tmp_path)
    done = tunesmith(*arguments)
    assert done.code == 2, done.err
    assert done.out == ""
    message = done.err[done.err.index("error: ") :]
    assert rule in message
    assert remedy in message
    assert len(message.splitlines()) <= 12
    assert "Traceback" not in done.err
    assert snapshot(tmp_path) == before


def test_output_folder_of_another_recipe(tunesmith, finished_run, tiny_files):
    before = snapshot(finished_run.path)
    done = tunesmith("train", "--data", tiny_files["train"], "--output-dir", finished_run.path)
    assert done.code == 2
    assert "belongs to another recipe; it differs in `model`" in done.err
    assert "`--force`" in done.err
    assert snapshot(finished_run.path) == before


def test_a_file_that_is_there_is_not_overwritten(tunesmith, finished_run, tmp_path):
    out = write(tmp_path, "predictions.jsonl", "mine")
    done = tunesmith("predict", finished_run.path, "a cat", "--output", out)
    assert done.code == 2
    assert "already exists" in done.err
    assert out.read_text() == "mine"
    assert tunesmith("predict", finished_run.path, "a cat", "--output", out, "--force").code == 0
    assert json.loads(out.read_text())["label"]


def test_with_json_the_error_is_one_object(tunesmith, tmp_path):
    done = tunesmith("train", "--data", tmp_path / "nothing.csv", "--json")
    error = json.loads(done.out)
    assert error["exit_code"] == done.code == 2
    assert "no such file" in error["error"]["rule"]
    assert error["error"]["remedy"]


def test_an_unknown_verb_and_option(tunesmith):
    assert tunesmith("trian").code == 2
    assert tunesmith("train", "--datta", "x").code == 2


def test_in_a_process_of_its_own(tmp_path):
    command = [sys.executable, "-m", "tunesmith", "train", "--data", str(tmp_path / "nothing.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: no such file: ")
