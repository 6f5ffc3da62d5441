import yaml


def test_the_card_says_what_the_model_is_and_how_good(finished_run):
    text = (finished_run.model / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert facts["library_name"] == "transformers"
    assert facts["pipeline_tag"] == "text-classification"
    primary = finished_run.metrics()["primary"]
    assert f"| test | accuracy | {primary['value']:.4f} |" in body
    assert "| majority |" in body
    assert "`animal`, `colour`" in body
