"""Fairness through `evaluate` and `train`: from keys to metrics.json and the report."""

import json

import pytest

from tunesmith.errors import RecipeError
from tunesmith.testing.tiny import tiny_rows, write_rows


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    found = [
        {**row, "text": f"{('he', 'she')[n % 2]} {row['text']} {n}", "dialect": ("north", "south")[n % 2]}
        for n, row in enumerate(tiny_rows(90, seed=5))
    ]
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.csv", found)


def test_groups_and_exchanged_words_of_other_rows(finished_run, rows, tmp_path, tunesmith):
    done = tunesmith(
        "evaluate", finished_run.path, "--data", rows, "evaluate.groups=dialect",
        "evaluate.identity_terms=gender", "--output", tmp_path / "page.html", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    found = json.loads(done.out)
    groups = found["groups"]["dialect"]
    assert {name: entry["n"] for name, entry in groups["groups"].items()} == {"north": 45, "south": 45}
    gender = found["identity_terms"]["gender"]
    assert gender["texts"]["texts"] == 90
    assert 0 <= gender["texts"]["flips"]["value"] <= 1
    assert gender["templates"]["exchanges"] == 12
    page = (tmp_path / "page.html").read_text()
    for words in ("By dialect", "texts that mention gender", "Words for one group"):
        assert words in page


def test_what_has_no_effect_or_is_no_key_of_evaluate_is_refused(finished_run, rows):
    import tunesmith as ts

    for overrides, said in (
        (["evaluate.stereotypes=pairs.csv"], "has no effect on `text-classification`"),
        (["train.learning_rate=1"], "an evaluation takes keys of `evaluate`, got `train.learning_rate`"),
        (["evaluate.grups=dialect"], "evaluate.grups"),
        (["evaluate.identity_terms=gendre"], "there is no list of identity terms `gendre`"),
    ):
        with pytest.raises(RecipeError, match=said):
            ts.evaluate(finished_run, rows, overrides=overrides, progress=False)


def test_pairs_are_compared_by_a_language_model_that_was_trained(tmp_path):
    import tunesmith as ts
    from tunesmith.testing.tiny import write_tiny_model

    pairs = tmp_path / "own" / "pairs.csv"
    write_rows(pairs.parent.mkdir() or pairs, [
        {"sent_more": f"the old cat sees dog {n}", "sent_less": f"the young cat sees dog {n}", "bias_type": "age"}
        for n in range(6)
    ])  # fmt: skip
    text = write_rows(
        tmp_path / "text.csv",
        [{"text": f"the cat sees a dog and a bird near the house {n}"} for n in range(60)],
    )
    for task, family in (("fill-mask", "bert"), ("text-generation", "llama")):
        model = write_tiny_model(tmp_path / task, family=family)
        run = ts.train(
            text, task=task, model=model, output_dir=tmp_path / f"run-{task}",
            progress=False,
            overrides={
                "train.max_steps": 2, "data.check": "off", "evaluate.baselines": False,
                "evaluate.stereotypes": [str(pairs)], **({"evaluate.samples": 0} if task != "fill-mask" else {}),
            },
        )  # fmt: skip
        entry = run.metrics["stereotypes"]["pairs.csv"]
        assert entry["pairs"] == entry["kinds"]["age"]["pairs"] == 6
        assert 0 <= entry["preference"]["low"] <= entry["preference"]["value"] <= 1
        assert "Stereotypes" in (run.path / "report.html").read_text()
