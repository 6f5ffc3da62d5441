from types import SimpleNamespace

import pytest
import yaml

from tunesmith.reports.card import _hub_data, _pipeline_note, write_card
from tunesmith.run import Run
from tunesmith.tasks import TASKS
from tunesmith.testing.tiny import write_tiny_model


def test_the_card_says_what_the_model_is_and_how_good(finished_run):
    text = (finished_run.model / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert facts["library_name"] == "transformers"
    assert facts["license"] == "unknown"
    assert "language" not in facts
    assert facts["metrics"] == ["accuracy", "f1"]
    assert "The licence is unknown" in body
    assert facts["pipeline_tag"] == "text-classification"
    primary = finished_run.metrics["primary"]
    assert f"| test | accuracy | {primary['value']:.4f} |" in body
    assert "| majority |" in body
    assert "`animal`, `colour`" in body


def test_the_hub_reads_the_scores(finished_run):
    from huggingface_hub import ModelCard

    card = ModelCard.load(finished_run.model / "README.md")
    primary = finished_run.metrics["primary"]
    (accuracy,) = [r for r in card.data.eval_results if r.metric_name == "accuracy"]
    assert accuracy.metric_value == pytest.approx(primary["value"], abs=1e-6)
    assert (accuracy.task_type, accuracy.dataset_name) == ("text-classification", "test.csv")
    assert (accuracy.dataset_type, accuracy.dataset_split) == ("local", "test")
    assert card.data.model_name == "finished"


def copy_of(run, folder, **card):
    """A copy of a run whose base model had a card with these entries."""
    import shutil

    copy = Run(shutil.copytree(run.path, folder / "copy"))
    copy.update_manifest(model={**copy.manifest()["model"], "card": card})
    write_card(copy)
    return (copy.model / "README.md").read_text()


def test_licence_and_language_are_carried_over(finished_run, tmp_path):
    text = copy_of(
        finished_run,
        tmp_path,
        license="other",
        license_name="llama3",
        license_link="x",
        language=["en", "de"],
    )
    _, front, body = text.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert (facts["license"], facts["license_name"], facts["license_link"]) == ("other", "llama3", "x")
    assert facts["language"] == ["en", "de"]
    assert "The licence, `llama3`, is that of the base model" in body
    assert "Languages of the base model: en, de." in body


def test_a_run_begun_from_a_run_keeps_its_licence(finished_run, tmp_path):
    from tunesmith.models.base_card import read_base_card
    from tunesmith.models.resolve import resolve_model

    copy_of(finished_run, tmp_path, license="mit", language="fr")
    found = read_base_card(resolve_model(str(tmp_path / "copy" / "model")))
    assert (found["license"], found["language"]) == ("mit", "fr")


def test_data_sets_of_the_hub_are_named():
    assert _hub_data(["hub:stanfordnlp/imdb:train", "x.csv", "hub:glue"]) == ["stanfordnlp/imdb", "glue"]


@pytest.mark.parametrize(("family", "marks_words"), [("bert", True), ("llama", False), ("bart", False)])
def test_a_card_for_entities_says_how_the_pipeline_differs(tmp_path, family, marks_words):
    run = SimpleNamespace(model=write_tiny_model(tmp_path / "model", family=family))
    text = _pipeline_note(TASKS.get("token-classification"), run)
    assert "The pipeline takes the best tag of each word alone" in text
    assert ("two spaces as one word" in text) is not marks_words
    assert _pipeline_note(TASKS.get("text-classification"), run) == ""
