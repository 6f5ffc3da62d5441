from types import SimpleNamespace

import pytest
import yaml

from tunesmith.reports.card import _hub_data, write_card
from tunesmith.reports.card_parts import _pipeline_note
from tunesmith.reports.energy import estimate_energy
from tunesmith.reports.sections import Source
from tunesmith.run import Run, write_json
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
    text = _pipeline_note(Source(run, {}, {"task": "token-classification"}))
    assert "The pipeline takes the best tag of each word alone" in text
    assert ("two spaces as one word" in text) is not marks_words
    assert _pipeline_note(Source(run, {}, {"task": "text-classification"})) == ""


def test_a_local_base_model_is_named_without_its_folder(finished_run, tiny_model):
    text = (finished_run.model / "README.md").read_text()
    assert str(tiny_model.parent) not in text
    assert f"`{tiny_model.name}`, a model of its author's own, fine-tuned for" in text
    assert "base_model" not in yaml.safe_load(text.split("---\n")[1]), "the Hub may have another of that name"


def test_the_folder_of_an_adapters_base_model_is_not_in_the_card(finished_run, tiny_model, tmp_path):
    import shutil

    copy = Run(shutil.copytree(finished_run.path, tmp_path / "copy"))
    (copy.model / "adapter_config.json").write_text("{}")
    write_card(copy)
    text = (copy.model / "README.md").read_text()
    assert str(tiny_model.parent) not in text
    assert f"PATH/TO/{tiny_model.name}" in text
    assert "library_name: peft" in text


def test_a_base_model_of_the_hub_is_named_in_the_metadata(finished_run, tmp_path):
    """Checked as `huggingface_hub` checks it: names of repositories, languages, results."""
    from huggingface_hub import ModelCard
    from huggingface_hub.repocard_data import model_index_to_eval_results
    from huggingface_hub.utils import validate_repo_id

    copy_of(finished_run, tmp_path, license="apache-2.0", language="en")
    copy = Run(tmp_path / "copy")
    used = {**copy.manifest()["used"], "model": "sentence-transformers/all-MiniLM-L6-v2"}
    copy.update_manifest(used=used, model={**copy.manifest()["model"], "found_in": "hub"})
    write_card(copy)
    card = ModelCard.load(copy.model / "README.md", ignore_metadata_errors=False)
    validate_repo_id(card.data.base_model)
    assert card.data.base_model_relation == "finetune"
    front = yaml.safe_load((copy.model / "README.md").read_text().split("---\n")[1])
    name, results = model_index_to_eval_results(front["model-index"])
    assert name == "copy"
    assert [result.metric_type for result in results] == ["accuracy", "f1", "f1"]


def test_what_is_unknown_is_said_to_be_unknown(finished_run, tmp_path):
    copy_of(finished_run, tmp_path)
    copy = Run(tmp_path / "copy")
    write_json(copy.metrics_file, {**copy.metrics, "energy": None})
    write_card(copy)
    text = (copy.model / "README.md").read_text()
    assert "Energy of the training: unknown." in text
    assert "for all of them is unknown" in " ".join(text.split())
    assert "How the rows were collected and labelled is unknown." in text


def test_groups_weak_slices_and_hooks_are_named(finished_run, tmp_path):
    copy_of(finished_run, tmp_path)
    copy = Run(tmp_path / "copy")
    manifest = copy.manifest()
    used = {**manifest["used"], "evaluate": {**manifest["used"]["evaluate"], "groups": ["dialect"]}}
    soup = {"kept": True, "reason": "a soup of 2 models: better"}
    copy.update_manifest(used=used, hooks={"loss": {"name": "mine.focal"}}, soup=soup)
    score = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 30}
    slices = {"dialect": {"values": {"one": score, "two": {**score, "value": 0.7}}, "gap": 0.2}}
    weak = {"name": "with the word `refund`", "value": 0.61, "rest": 0.94, "n": 44}
    entry = {"metric": "accuracy", "tried": 50, "level": 0.05, "found": [weak]}
    write_json(copy.metrics_file, {**copy.metrics, "slices": slices, "weak_slices": entry})
    write_card(copy)
    text = (copy.model / "README.md").read_text()
    assert "By `dialect`, accuracy of groups differs by up to 20.0 %: `one` 90.0 %; `two` 70.0 %." in text
    assert (
        "- Weakest on the 44 rows with the word `refund`: accuracy is 61.0 %, and 94.0 % on the others."
        in text
    )
    assert "loss=mine.focal" in text
    assert "Its weights are a soup of 2 models: better." in text


def test_the_energy_is_that_of_the_measured_processor_seconds(finished_run):
    manifest, energy = finished_run.manifest(), finished_run.metrics["energy"]
    measured = sum(manifest["processor_s"].values())
    assert 0 < energy["processor_s"] <= measured
    assert energy["watt_hours"] == pytest.approx(energy["processor_s"] * 15 / 3600, abs=1e-3)
    assert f"about {energy['watt_hours']} Wh" in (finished_run.model / "README.md").read_text()
    gpu = {**manifest, "machine": {**manifest["machine"], "device": "cuda"}}
    for unknown in (gpu, {**manifest, "continued": [{}]}, {**manifest, "processes": 2}, {"machine": {}}):
        assert estimate_energy(unknown) is None
