from types import SimpleNamespace

import pytest
import yaml

from tunesmith.reports.card import _pipeline_note
from tunesmith.tasks import TASKS
from tunesmith.testing.tiny import write_tiny_model


def test_the_card_says_what_the_model_is_and_how_good(finished_run):
    text = (finished_run.model / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert facts["library_name"] == "transformers"
    assert facts["pipeline_tag"] == "text-classification"
    primary = finished_run.metrics["primary"]
    assert f"| test | accuracy | {primary['value']:.4f} |" in body
    assert "| majority |" in body
    assert "`animal`, `colour`" in body


@pytest.mark.parametrize(("family", "marks_words"), [("bert", True), ("llama", False), ("bart", False)])
def test_a_card_for_entities_says_how_the_pipeline_differs(tmp_path, family, marks_words):
    run = SimpleNamespace(model=write_tiny_model(tmp_path / "model", family=family))
    text = _pipeline_note(TASKS.get("token-classification"), run)
    assert "The pipeline takes the best tag of each word alone" in text
    assert ("two spaces as one word" in text) is not marks_words
    assert _pipeline_note(TASKS.get("text-classification"), run) == ""
