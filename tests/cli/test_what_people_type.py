"""What a person types who has read nothing: the command, the exit code, and what the answer must hold.

`TINY` stands for a tiny model, so that a training takes a second; `RUN` for a finished run. The other names are
files of the folder in which every command is run.
"""

import json
import shlex
from dataclasses import dataclass

import pytest

from tunesmith.run import Run
from tunesmith.testing.tiny import tiny_rows, write_rows

QUICK = (
    "--model TINY --validation 0.3 train.max_steps=1 evaluate.baselines=false evaluate.bootstrap_samples=100"
)
PROBE = "--model TINY --validation 0.3 --method probe evaluate.baselines=false evaluate.bootstrap_samples=100"


@dataclass(frozen=True)
class Typed:
    """One row: what is typed, the exit code, and what standard output or standard error must hold."""

    command: str
    code: int
    holds: tuple[str, ...]
    lacks: tuple[str, ...] = ()


def typed(command, code, *holds, lacks=()):
    return Typed(command, code, holds, lacks)


ROWS = [
    # a first training
    typed("train", 2, "there is nothing to train on", "tunesmith train reviews.csv"),
    typed(
        f"train reviews.csv {PROBE}", 0,
        "task: `text-classification`, guessed from the names of the columns",
        "columns: text = `review`, label = `stars`",
        "run folder: runs/reviews", "report  runs/reviews/report.html",
        'next    tunesmith predict runs/reviews "a text"',
    ),
    typed(f"train reviews.csv --label mood {PROBE}", 0, "label = `mood`", "run folder: runs/reviews"),
    typed(f"train reviews.csv --text review --label mood -o out {PROBE}", 0, "report  out/report.html"),
    typed(
        f"train reviews.csv --epochs 1 --lr 1e-3 --batch-size 8 --max-length 32 --seed 7 {QUICK}", 0,
        "accuracy",
    ),
    typed(f"train reviews.csv --set data.validation=0.4 --set seed=3 {PROBE}", 0, "54 train, 36 validation"),
    typed(f"train reviews.csv more.csv {PROBE}", 0, "126 train, 54 validation"),
    typed(
        f"train reviews.csv --task classification {PROBE}", 0,
        "`classification` is called `text-classification` here",
    ),
    typed(f"train reviews.csv --task sentiment-analysis {PROBE}", 0, "is called `text-classification` here"),
    typed(
        "train reviews.csv --model TINY --method linear-probe evaluate.baselines=false", 0,
        "`linear-probe` is called `probe` here",
    ),
    typed(f"train entities.jsonl {PROBE}", 0, "task: `token-classification`", "next    tunesmith predict"),
    typed(
        f"train pairs.csv --task regression {PROBE}", 0,
        "`regression` is called `text-regression` here", "next    tunesmith predict runs/pairs --data FILE",
    ),
    typed(
        f"train texts.txt {QUICK}", 2,
        "several tasks fit", "`fill-mask`", "`text-generation`", "`--task fill-mask`",
    ),
    typed("train source-target.csv", 2, "several tasks fit", "`translation`", "`text2text-generation`"),
    typed("train numbers.csv", 2, "no task recognises the columns: `a`, `b`", "--label COLUMN"),
    typed("train reviews.csv --label star", 2, "there is no column `star`", "Did you mean `stars`?"),
    typed(
        "train reviews.csv test.csv", 2,
        "its name says test", "tunesmith train reviews.csv --test test.csv",
    ),
    typed("train RUN", 2, "is a run, not data", "recipe.yaml` resumes it"),
    # names from elsewhere, and misspelt ones
    typed("trian reviews.csv", 2, "`trian` is not a verb", "Did you mean `train`?"),
    typed("train reviews.csv --foo", 2, "`--foo` is not supported by `train`", lacks=("Did you mean",)),
    typed(
        "train reviews.csv --output_dir x", 2,
        "`--output_dir` is not supported", "Did you mean `--output-dir`?",
    ),
    typed(
        "train reviews.csv --num_train_epochs 3", 2,
        "is not supported", "write `train.num_train_epochs=VALUE`",
    ),
    typed("train reviews.csv train.wombat=1", 2, "`train.wombat` is not a key", lacks=("Did you mean",)),
    typed("train reviews.csv train.learning_rte=1", 2, "Did you mean `train.learning_rate`?"),
    typed("train reviews.csv --lr fast", 2, "train.learning_rate must be", "got fast"),
    typed(
        "train reviews.csv --method dpo", 2,
        "not a method here, but the task `preference`", "--task preference",
    ),
    typed("train reviews.csv --method lorra", 2, "Did you mean `lora`?"),
    typed("train reviews.csv --task nerr", 2, "`nerr` is not a task", "Did you mean `token-classification`?"),
    typed("train reviews.csv train.method", 2, "`train.method` has no value"),
    typed(
        "train wrong.yaml", 2, "3 values of the recipe are wrong",
        "wrong.yaml, line 3: `train.learning_rte` is not a key of the recipe. Did you mean `train.learning_rate`?",
        "wrong.yaml, line 4: train.method must be", "Did you mean `lora`?", "wrong.yaml, line 5: seed must be",
    ),
    typed(
        "train reviews.csv --method probe --epochs 3", 2,
        "train.num_train_epochs has no effect on a probe",
    ),
    typed("train reviews.csv train.lora_r=8", 2, "train.lora_r has no effect on method `full`"),
    # what there is
    typed("help", 0, "Fine-tune a pretrained language model", "train"),
    typed(
        "help train", 0,
        "Data:", "Model and training:", "Output:", "Examples:", "tunesmith train reviews.csv",
    ),
    typed("help tain", 2, "`tain` is not a verb", "Did you mean `train`?"),
    typed("version", 0, "0."),
    typed("list foo", 2, "`foo` is nothing that can be listed", "`runs`", lacks=("Value error",)),
    typed(
        "init reviews.csv --label mood -o mood.yaml", 0,
        "task: `text-classification`", "label = column `mood`",
    ),
    typed("init", 2, "`init` needs DATA", "tunesmith init reviews.csv"),
    # predicting
    typed('predict RUN "the cat is red"', 0, '"label"'),
    typed("predict RUN reviews.csv", 2, "Did you mean `tunesmith predict", "--data reviews.csv`?"),
    typed("predict RUN --data reviews.csv --column text=review -o out.tsv", 0, "90 predictions in out.tsv"),
    typed("predict RUN --data reviews.csv --column text=review -o out.parquet", 0, "90 predictions"),
    typed("predict RUN --data reviews.csv -o out.xlsx", 2, "no format of predictions", "`.parquet`"),
    typed("predict RUN a --format xml", 2, "`xml` is not a format", "`tsv`"),
    typed("predict RUN a --format parquet", 2, "Parquet is written to a file", "--output FILE.parquet"),
    typed("predict RUN a --column text=review", 2, "--column has no effect without --data"),
    typed("predict RUN --data semicolons.csv", 0, "semicolons.csv"),
    typed("predict", 2, "`predict` needs RUN", "tunesmith predict runs/reviews"),
    # data and models of the Hub, without a network
    typed(
        "train hub:nobody/nothing", 2,
        "is not in the local cache", "switched off by HF_HUB_OFFLINE", "save_to_disk",
    ),
    typed("train reviews.csv --model nobody/nothing", 2, "is not found", "hf download nobody/nothing"),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files that the commands name."""
    path = tmp_path_factory.mktemp("typed")
    rows = tiny_rows(180)
    reviews = [
        {"review": row["text"], "stars": i % 3, "mood": row["label"], "language": "en"}
        for i, row in enumerate(rows)
    ]
    write_rows(
        path / "reviews.csv", [dict(list(row.items())[:2]) | {"mood": row["mood"]} for row in reviews[:90]]
    )
    write_rows(
        path / "more.csv", [dict(list(row.items())[:2]) | {"mood": row["mood"]} for row in reviews[90:]]
    )
    write_rows(path / "test.csv", reviews[90:120])
    write_rows(path / "pairs.csv", [
        {"sentence1": a["text"], "sentence2": b["text"], "score": i / 7}
        for i, (a, b) in enumerate(zip(rows[:60], rows[60:120], strict=True))
    ])  # fmt: skip
    write_rows(
        path / "source-target.csv",
        [{"source": row["text"], "target": f"{i} {row['text']}"} for i, row in enumerate(rows[:40])],
    )
    write_rows(path / "entities.jsonl", [
        {"tokens": ["the", "cat", "is", "red", f"{i}"], "tags": ["O", "B-ANIMAL", "O", "B-COLOUR", "O"]}
        for i in range(40)
    ])  # fmt: skip
    write_rows(path / "numbers.csv", [{"a": i, "b": i} for i in range(40)])
    (path / "texts.txt").write_text("\n\n".join(row["text"] for row in rows[:40]))
    (path / "semicolons.csv").write_text("text;other\n" + "".join(f"{row['text']};x\n" for row in rows[:5]))
    (path / "wrong.yaml").write_text(
        "data: {train: reviews.csv}\ntrain:\n  learning_rte: 1e-4\n  method: lorra\nseed: {x: 1}\n"
    )
    return path


def test_there_are_at_least_25_rows():
    assert len({row.command for row in ROWS}) == len(ROWS) >= 25


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.command[:60])
def test_what_is_typed_is_answered(row, tunesmith, folder, tiny_model, finished_run, monkeypatch, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.chdir(tmp_path)
    words = {"TINY": str(tiny_model), "RUN": str(finished_run.path)}
    done = tunesmith(*(words.get(word, word) for word in shlex.split(row.command)))
    said = done.out + done.err
    assert done.code == row.code, said
    for text in row.holds:
        assert text in said, said
    for text in row.lacks:
        assert text not in said
    assert "Traceback" not in said
    if row.code:
        assert done.err.startswith(("error: ", "── ", "   ")), done.err
        assert not list(tmp_path.glob("runs/*"))


@pytest.mark.parametrize("row", [row for row in ROWS if row.code == 2], ids=lambda row: row.command[:60])
def test_every_error_is_one_object_with_json(row, tunesmith, folder, tiny_model, finished_run, monkeypatch):
    if row.command.startswith("help"):
        pytest.skip("`help` prints text alone")
    monkeypatch.chdir(folder)
    words = {"TINY": str(tiny_model), "RUN": str(finished_run.path)}
    done = tunesmith(*(words.get(word, word) for word in shlex.split(row.command)), "--json")
    assert done.code == 2
    error = json.loads(done.out)
    assert error["exit_code"] == 2
    assert error["error"]["rule"]
    assert error["error"]["remedy"]


def test_another_recipe_gets_a_folder_of_its_own(tunesmith, folder, tiny_model, monkeypatch, tmp_path):
    """The same command is the same run; another one never takes its folder."""
    (tmp_path / "reviews.csv").write_bytes((folder / "reviews.csv").read_bytes())
    monkeypatch.chdir(tmp_path)
    quick = shlex.split(PROBE.replace("TINY", str(tiny_model)))
    first = tunesmith("train", "reviews.csv", *quick, "--json")
    again = tunesmith("train", "reviews.csv", *quick, "--json")
    other = tunesmith("train", "reviews.csv", *quick, "--seed", "7", "--json")
    assert "is finished; nothing to do" in again.err
    assert "runs/reviews belongs to another recipe" in other.err
    runs = [json.loads(done.out)["run"] for done in (first, again, other)]
    assert runs == ["runs/reviews", "runs/reviews", "runs/reviews-2"]

    listed = tunesmith("list", "runs")
    assert "runs/reviews (same data)" in listed.out
    assert "seed=7" in listed.out
    found = {run["run"]: run for run in json.loads(tunesmith("list", "runs", "--json").out)["runs"]}
    assert found["runs/reviews"]["parent"] is None
    assert found["runs/reviews-2"]["parent"] == "runs/reviews"
    assert found["runs/reviews-2"]["changed"] == {"seed": {"parent": 42, "this": 7}}
    assert found["runs/reviews-2"]["primary"]["value"] == Run("runs/reviews-2").metrics["primary"]["value"]
