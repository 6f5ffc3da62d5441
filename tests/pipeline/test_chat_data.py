"""Runs on conversations: turns that are learned, turns that are only read, long ones that are cut, tools."""

from __future__ import annotations

import json

import pytest

from tunesmith import pipeline
from tunesmith.errors import DataError, RecipeError
from tunesmith.exporting import export
from tunesmith.inference.predictor import Predictor
from tunesmith.pipeline.comparing import compare
from tunesmith.pipeline.evaluating import evaluate
from tunesmith.recipe import Recipe
from tunesmith.testing.tiny import tiny_task_rows, write_tiny_model

pytestmark = pytest.mark.usefixtures("lean")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("models") / "llama", family="llama")


@pytest.fixture(scope="module")
def conversations():
    """Long ones and short ones; every one begins with a system turn."""
    system = {"role": "system", "content": "the goat is red"}
    rows = [row["messages"] * (1 + i % 3) for i, row in enumerate(tiny_task_rows("chat", 24))]
    return [{"messages": [system, *messages]} for messages in rows]


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def recipe_of(model, folder, rows, **data):
    return Recipe.model_validate({
        "task": "chat",
        "model": str(model),
        "output_dir": str(folder / "run"),
        "data": {
            "train": [written(folder / "train.jsonl", rows)],
            "validation": [written(folder / "validation.jsonl", rows[:8])],
            "check": "off",
            **data,
        },
        "train": {"max_steps": 2, "learning_rate": 1e-3, "per_device_train_batch_size": 8},
        "generate": {"max_new_tokens": 4},
        "evaluate": {"bootstrap_samples": 100, "baselines": False, "samples": 1},
    })  # fmt: skip


def notes_of(recipe):
    said = []
    run = pipeline.train(recipe, listeners=[lambda event: said.append(getattr(event, "text", ""))])
    return run, said


def test_a_run_that_learns_the_last_turn_is_scored_on_it_ever_after(model, conversations, tmp_path):
    recipe = recipe_of(model, tmp_path, conversations, train_on="last")
    run = pipeline.train(recipe)
    again = evaluate(run.path, [str(tmp_path / "validation.jsonl")])
    assert again["primary"]["value"] == pytest.approx(run.metrics["primary"]["value"], rel=1e-4)
    every = pipeline.train(
        recipe_of(model, tmp_path, conversations).model_copy(update={"output_dir": str(tmp_path / "every")})
    )
    assert every.metrics["primary"]["value"] != pytest.approx(again["primary"]["value"], rel=1e-3)
    said = []
    compare([run.path, every.path], listeners=[lambda event: said.append(getattr(event, "text", ""))])
    assert any("`run`: the last turn, long rows cut; `every`: every turn" in text for text in said)
    export(run.path, "bf16", output_dir=tmp_path / "export", data=[str(tmp_path / "validation.jsonl")])
    for path in (run.path, tmp_path / "export"):
        how = Predictor.from_run(path).how
        assert (how.train_on, how.too_long) == ("last", "cut")


def test_long_conversations_are_cut_and_reported(model, conversations, tmp_path):
    recipe = recipe_of(model, tmp_path, conversations, too_long="cut", max_length=100)
    run, said = notes_of(recipe)
    found = json.loads((run.data / "supervision.json").read_text())["train"]
    assert found["rows_windowed"] == 0
    assert 0 < found["rows_cut"] < found["rows"] == found["sequences"] == 24
    for kind in ("tokens", "turns", "assistant tokens"):
        gone, total = found["lost"][kind]
        assert 0 < gone < total
    assert found["lost"]["turns"][1] == sum(len(row["messages"]) for row in conversations)
    assert not found["is_whole"]
    (note,) = [text for text in said if text.startswith("train: at max_length 100")]
    assert f"{found['rows_cut']} of 24 texts" in note
    assert f"{found['lost']['turns'][0]} of {found['lost']['turns'][1]} turns" in note


def test_by_itself_a_long_conversation_is_read_in_windows(model, conversations, tmp_path):
    run = pipeline.train(recipe_of(model, tmp_path, conversations, max_length=100))
    found = json.loads((run.data / "supervision.json").read_text())["train"]
    assert found["rows_windowed"] > 0
    assert found["is_whole"]


def test_a_row_with_nothing_left_to_learn_is_named(model, conversations, tmp_path):
    rows = json.loads(json.dumps(conversations))
    for turn in rows[2]["messages"]:
        turn["weight"] = 0
    run, said = notes_of(recipe_of(model, tmp_path, rows))
    found = json.loads((run.data / "supervision.json").read_text())["train"]
    assert found["rows_without"] == 1
    (location,) = found["without"]
    assert location.endswith("train.jsonl, line 3")
    assert any("1 rows have nothing left to learn from" in text and location in text for text in said)
    every = [{"messages": [{**turn, "train": False} for turn in row["messages"]]} for row in rows]
    with pytest.raises(DataError, match="none of the 24 train rows has assistant tokens"):
        pipeline.train(
            recipe_of(model, tmp_path, every).model_copy(update={"output_dir": str(tmp_path / "b")})
        )


def test_a_fraction_of_a_weight_is_named_by_file_and_line(model, conversations, tmp_path):
    rows = json.loads(json.dumps(conversations))
    rows[4]["messages"][-1]["weight"] = 0.25
    with pytest.raises(DataError, match=r"train.jsonl, line 5.*`weight: 0.25`; it must be 0 or 1"):
        pipeline.train(recipe_of(model, tmp_path, rows))


def test_keys_without_effect_are_refused(model, conversations, tmp_path):
    cut = recipe_of(model, tmp_path, conversations, too_long="cut", overlap_tokens=4)
    with pytest.raises(RecipeError, match=r"data.overlap_tokens has no effect on texts that are cut"):
        pipeline.train(cut)
    pairs = recipe_of(model, tmp_path, conversations, train_on="last").model_copy(
        update={"task": "preference"}
    )
    with pytest.raises(RecipeError, match=r"data.train_on has no effect on `preference`"):
        pipeline.train(pairs)


TOOL = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}


def tool_rows(n):
    return [
        {
            "messages": [
                {"role": "user", "content": f"the weather {i}"},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {"id": "c1", "function": {"name": "weather", "arguments": '{"city": "a"}'}}
                    ],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "rain"},
                {"role": "assistant", "content": "it is rain"},
            ],
            "tools": json.dumps([TOOL]),
        }
        for i in range(n)
    ]


@pytest.mark.parametrize("named", [{}, {"messages": "talk", "tools": "functions"}])
def test_tools_in_columns_of_any_name(model, tmp_path, named):
    rows = [
        {named.get(name, name): value for name, value in row.items()} if named else row
        for row in tool_rows(12)
    ]
    run = pipeline.train(recipe_of(model, tmp_path, rows, columns=named))
    (line, *_) = (run.predictions / "validation.jsonl").read_text().splitlines()
    assert json.loads(line)["messages"][1]["tool_calls"][0]["function"]["arguments"] == {"city": "a"}
    assert Predictor.from_run(run.path)(
        {"messages": rows[0]["talk" if named else "messages"][:1], "tools": [TOOL]}
    )


def test_tools_that_the_models_template_leaves_out_are_refused_with_a_remedy(tmp_path, model, conversations):
    from transformers import AutoTokenizer

    folder = write_tiny_model(tmp_path / "own", family="llama")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = "{% for m in messages %}{{ m.role + ':' + m.content + eos_token }}{% endfor %}"
    tokenizer.save_pretrained(folder)
    rows = [{**row, "tools": [TOOL]} for row in conversations]
    with pytest.raises(DataError, match="does not write the tools") as caught:
        pipeline.train(recipe_of(folder, tmp_path, rows))
    assert "line 1" in str(caught.value)
    assert "`data.chat_template=plain` writes tools" in caught.value.remedy
