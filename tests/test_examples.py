"""The bundled example: whole, honest, and without the same message on two sides."""

import json
import re
from collections import Counter

import pytest

from tunesmith.data.splits import normalised
from tunesmith.examples import example_folder
from tunesmith.testing.tiny import write_rows, write_tiny_model

FOLDER = example_folder("support")
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def splits():
    return {
        s: [json.loads(line) for line in (FOLDER / f"{s}.jsonl").read_text().splitlines()] for s in SPLITS
    }


def test_there_is_enough_of_it(splits):
    rows = [row for split in splits.values() for row in split]
    assert len(rows) >= 400
    intents = Counter(row["intent"] for row in rows)
    assert len(intents) >= 10
    assert max(intents.values()) > 3 * min(intents.values())
    assert len({row["id"] for row in rows}) == len(rows)


def test_no_message_stands_twice_in_or_across_splits(splits):
    keys = [normalised(re.sub(r"\W+", " ", row["text"])) for split in splits.values() for row in split]
    assert len(set(keys)) == len(keys)


def test_no_message_is_nearly_another(splits):
    words = [set(re.findall(r"\w+", row["text"].lower())) for split in splits.values() for row in split]
    for i, one in enumerate(words):
        for other in words[:i]:
            if min(len(one), len(other)) > 3:
                assert len(one & other) / len(one | other) < 0.7, (one, other)


def test_every_intent_is_in_every_split(splits):
    intents = [{row["intent"] for row in split} for split in splits.values()]
    assert intents[0] == intents[1] == intents[2]


def test_spans_are_spans(splits):
    labels = Counter()
    for row in (row for split in splits.values() for row in split):
        end = 0
        for entity in row["entities"]:
            assert end <= entity["start"] < entity["end"] <= len(row["text"])
            assert row["text"][entity["start"] : entity["end"]].strip()
            end = entity["end"]
            labels[entity["label"]] += 1
        answer = row["answer"]
        assert row["text"][answer["start"] :].startswith(answer["text"])
        assert 1 <= row["urgency"] <= 5
        assert "\n" not in row["summary"]
        assert row["reply"]
    assert set(labels) == {"product", "order_number", "date", "amount", "place"}


RECIPES = sorted(FOLDER.glob("*.yaml"))
DATA_FILES = sorted(FOLDER.glob("*.jsonl"))
DECODERS = {"chat": "llama", "preference": "llama", "text-generation": "llama"}
ENCODER_DECODERS = dict.fromkeys(("summarization", "text2text-generation", "translation"), "bart")
ROWS_OF_AN_INTENT = {"train": 2, "validation": 1, "test": 1}
OTHER_ROWS = 24


def test_there_is_one_recipe_a_task():
    from tunesmith.api import build_recipe
    from tunesmith.tasks import TASKS

    assert sorted(build_recipe(file).task for file in RECIPES) == sorted(TASKS.names())
    assert [file.stem for file in RECIPES] == sorted(TASKS.names())


def test_topics_are_those_of_messages_of_the_corpus(splits):
    texts = {row["id"]: row["text"] for row in splits["train"]}
    rows = read_rows("topics")
    counts = Counter(topic for row in rows for topic in row["topics"])
    assert all(texts[row["id"]] == row["text"] for row in rows)
    assert all(len(set(row["topics"])) == len(row["topics"]) for row in rows)
    assert len(rows) >= 100
    assert len(counts) == 8
    assert min(counts.values()) >= 10
    assert sum(len(row["topics"]) > 1 for row in rows) > 30


def test_translations_are_pairs():
    rows = read_rows("replies-de")
    assert len(rows) >= 60
    assert all(set(row) == {"en", "de"} and all(row.values()) for row in rows)
    assert len({row["en"] for row in rows}) == len({row["de"] for row in rows}) == len(rows)


def test_pairs_have_every_degree_of_similarity():
    rows = read_rows("pairs")
    assert len({(row["text"], row["text_pair"]) for row in rows}) == len(rows) >= 60
    assert {row["score"] for row in rows} >= {0.0, 1.0, 2.0, 3.0, 4.0, 5.0}
    assert 1.5 < sum(row["score"] for row in rows) / len(rows) < 3.5


def test_preferences_are_not_told_by_their_length():
    rows = read_rows("preferences")
    longer = sum(len(row["chosen"]) > len(row["rejected"]) for row in rows)
    assert len({row["prompt"] for row in rows}) == len(rows) >= 60
    assert 0.4 < longer / len(rows) < 0.6


def test_calls_of_tools_are_valid_and_of_every_kind():
    from tunesmith.checks._tool_calls import tool_problems
    from tunesmith.tasks import TASKS

    rows = [TASKS.get("chat").read(row) for row in read_rows("tools")]
    assert all(tool_problems(row["messages"], row["tools"]) == {} for row in rows)
    n_calls = [[len(turn["tool_calls"]) for turn in row["messages"] if "tool_calls" in turn] for row in rows]
    assert len(rows) >= 20
    assert {tuple(found) for found in n_calls} >= {(), (1,), (1, 1), (2,)}
    assert {
        call["function"]["name"]
        for row in rows
        for turn in row["messages"]
        for call in turn.get("tool_calls", ())
    } == {tool["function"]["name"] for tool in rows[0]["tools"]}


def test_calls_of_tools_can_be_learned(tiny_models, tmp_path):
    import tunesmith

    run = tunesmith.train(
        FOLDER / "tools.jsonl",
        task="chat",
        model=tiny_models["llama"],
        output_dir=tmp_path / "run",
        overrides={
            "data.chat_template": "chatml", "data.validation": 0.2, "train.max_steps": 4,
            "evaluate.baselines": False, "evaluate.bootstrap_samples": 100, "evaluate.samples": 1,
            "generate.max_new_tokens": 8,
        },
    )  # fmt: skip
    assert run.metrics["primary"]["name"] == "bits_per_byte"
    messages = [{"role": "user", "content": "Where is PP-1?"}]
    assert run.predict({"messages": messages, "tools": read_rows("tools")[0]["tools"]})["message"]


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_data_of_a_recipe_can_be_read(file):
    """All of it, with the columns that the recipe names."""
    from tunesmith.api import build_recipe
    from tunesmith.data.preparing import prepare
    from tunesmith.tasks import TASKS

    recipe = build_recipe(file)
    data = prepare(TASKS.get(recipe.task), recipe)
    assert set(data.splits) == {"train", "validation", "test"}
    assert not data.invalid_rows
    assert recipe.output_dir.startswith("runs/")


@pytest.fixture(scope="module")
def few_rows(tmp_path_factory):
    """The examples with a few rows of each file: of the splits, the first of each intent."""
    folder = tmp_path_factory.mktemp("examples") / "support"
    folder.mkdir()
    for file in RECIPES:
        (folder / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    for file in DATA_FILES:
        rows, evaluated = read_rows(file.stem), Counter()
        most = ROWS_OF_AN_INTENT.get(file.stem)
        kept = [
            row
            for row in rows
            if most and not evaluated.update([row["intent"]]) and evaluated[row["intent"]] <= most
        ]
        write_rows(folder / file.name, kept or rows[:OTHER_ROWS])
    return folder


@pytest.fixture(scope="module")
def tiny_models(tmp_path_factory):
    """A decoder, and an encoder with a decoder, in the place of those of the Hub."""
    folder = tmp_path_factory.mktemp("models")
    return {family: str(write_tiny_model(folder / family, family=family)) for family in ("llama", "bart")}


@pytest.mark.slow
@pytest.mark.parametrize("task", [file.stem for file in RECIPES])
def test_a_recipe_runs_and_its_run_predicts(task, few_rows, tiny_models, tmp_path):
    """A few steps on a few rows: encoders are the real default model, others tiny ones in its place."""
    import tunesmith

    overrides = {"output_dir": str(tmp_path / "run"), "train.max_steps": 2, "evaluate.bootstrap_samples": 100}
    family = {**DECODERS, **ENCODER_DECODERS}.get(task)
    if family is not None:
        overrides |= {"model": tiny_models[family], "data.max_length": 128, "generate.max_new_tokens": 8}
        overrides |= {"evaluate.baselines": False} | ({"evaluate.samples": 2} if task in DECODERS else {})
    run = tunesmith.train(few_rows / f"{task}.yaml", overrides=overrides)
    metrics = run.metrics
    assert metrics["task"] == task
    assert metrics["primary"]["split"] == "test"
    assert metrics["train"]["steps"] == 2
    assert run.report_file.is_file()
    answer = tunesmith.predict(run.path, ASKED.get(task, "Where is my parcel?"))
    assert set(answer) >= ANSWERED[task], answer


ASKED = {
    "text-similarity": {"text": "Where is my parcel?", "text_pair": "My parcel is late."},
    "question-answering": {"question": "What is late?", "context": "My parcel is late again."},
    "fill-mask": "Where is my [MASK]?",
}
ANSWERED = {
    "chat": {"message"},
    "fill-mask": {"token_str", "sequence", "score"},
    "multi-label-classification": {"labels"},
    "preference": {"message"},
    "question-answering": {"answer", "score", "start", "end"},
    "summarization": {"summary_text"},
    "text-classification": {"label", "score"},
    "text-generation": {"generated_text"},
    "text-regression": {"score"},
    "text-similarity": {"score"},
    "text2text-generation": {"generated_text"},
    "token-classification": {"entities"},
    "translation": {"translation_text"},
}


def read_rows(name):
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()]
