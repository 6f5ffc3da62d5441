import json
import re

import pytest

from tunesmith.data.recipe_template import run_name, schema_text, starting_recipe
from tunesmith.recipe import RecipeDraft, recipe_keys
from tunesmith.tasks import TASKS
from tunesmith.testing.tiny import tiny_rows, tiny_task_rows, write_rows


def test_a_starting_recipe_is_a_whole_recipe_with_comments(tmp_path):
    file = write_rows(tmp_path / "reviews.csv", tiny_rows(20))
    text, chosen = starting_recipe("text-classification", str(file), {})
    (tmp_path / "recipe.yaml").write_text(text)
    recipe = RecipeDraft.read(tmp_path / "recipe.yaml").validate()
    assert chosen == {"text": "text", "label": "label"}
    assert recipe.data.columns == chosen
    assert recipe.data.train == [str(file)]
    assert recipe.output_dir == "runs/reviews"
    assert "# peak learning rate" in text


def test_only_what_the_task_supports_is_written(tmp_path):
    file = write_rows(tmp_path / "reviews.csv", tiny_rows(20))
    text, _ = starting_recipe("text-classification", str(file), {})
    assert "class_weights" in text
    for key in (
        "dpo_beta",
        "mlm_probability",
        "chat_template",
        "align_answers",
        "num_beams",
        "overlap_tokens",
    ):
        assert key not in text


@pytest.mark.parametrize("name", TASKS.names())
def test_a_starting_recipe_of_every_task_is_accepted_as_it_is(tmp_path, name):
    from tunesmith.pipeline.options import refuse_options_without_effect

    file = write_rows(tmp_path / "rows.jsonl", tiny_task_rows(name, 30))
    text, _ = starting_recipe(name, str(file), {}, with_schema=True)
    (tmp_path / "recipe.yaml").write_text(text)
    assert text.startswith("# yaml-language-server: $schema=recipe.schema.json\n")
    refuse_options_without_effect(TASKS.get(name), RecipeDraft.read(tmp_path / "recipe.yaml").validate())


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("data/reviews.csv.gz", "reviews"), ("hub:stanfordnlp/imdb:train", "imdb"), ("reviews/", "reviews"),
        ("s3://bucket/my reviews.parquet", "my-reviews"), ("shop.db#SELECT a FROM b", "shop"),
        ("parallel:train.{en,de}", "train"),
    ],
)  # fmt: skip
def test_a_run_has_the_name_of_its_data(source, name):
    assert run_name(source) == name


def test_the_schema_describes_every_key():
    schema = json.loads(schema_text())
    assert set(schema["properties"]) == {key.partition(".")[0] for key in recipe_keys()}


def test_a_writing_task_tells_of_decoders_and_what_they_have_more(tmp_path):
    file = write_rows(tmp_path / "rows.jsonl", tiny_task_rows("summarization", 20))
    text, _ = starting_recipe("summarization", str(file), {})
    assert "# A decoder such as HuggingFaceTB/SmolLM2-135M-Instruct can do it, too. It also has:" in text
    more = re.search(r"It also has:\n# (.+)\.\n", text).group(1).split(", ")
    assert {"data.chat_template", "data.instruction"} <= set(more)
    assert not any(f"  {key.partition('.')[2]}: " in text for key in more)
    text, _ = starting_recipe("text-classification", str(write_rows(tmp_path / "a.csv", tiny_rows(20))), {})
    assert "decoder" not in text
