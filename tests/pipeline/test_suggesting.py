"""`models`: candidates, costs and a probe, with a short list so that it takes seconds."""

import re
from pathlib import Path

import pytest

import tunesmith
from tunesmith.data.preparing import prepare
from tunesmith.errors import UserError
from tunesmith.models.catalogue import find_known
from tunesmith.pipeline import describe_model, suggesting
from tunesmith.pipeline.data_facts import facts_of
from tunesmith.pipeline.sample_rows import SampleRows
from tunesmith.tasks import TASKS
from tunesmith.testing.tiny import tiny_rows, write_rows, write_tiny_model

LISTED = ("sentence-transformers/all-MiniLM-L12-v2", "BAAI/bge-small-en-v1.5", "openai-community/gpt2",
          "google-bert/bert-base-chinese")  # fmt: skip


@pytest.fixture
def _short_list(monkeypatch):
    """Four models of the list, of which none is here."""
    monkeypatch.setattr(suggesting, "catalogue", lambda: tuple(find_known(name) for name in LISTED))
    monkeypatch.setattr(suggesting, "installed_packages", list)
    monkeypatch.setattr(suggesting, "cached_models", list)


@pytest.fixture
def rows(tmp_path):
    return write_rows(tmp_path / "rows.csv", tiny_rows(200))


@pytest.mark.usefixtures("_short_list")
def test_an_added_folder_is_measured_and_probed(rows, tiny_model):
    found = tunesmith.suggest_models(rows, add=[tiny_model], probe=True, max_seconds=0, progress=False)
    by_id = {it["id"]: it for it in found["models"]}
    assert set(by_id) == {str(tiny_model), *LISTED}
    added = by_id[str(tiny_model)]
    assert added["available"] == "folder"
    assert added["cost"]["source"] == "measured"
    assert added["cost"]["fits"]
    probe = added["probe"]
    assert probe["metric"] == "accuracy"
    assert 0.5 < probe["low"] <= probe["value"] <= probe["high"] <= 1
    assert found["models"][0] is added or found["models"][0]["verdict"] == "recommended"
    other = by_id["BAAI/bge-small-en-v1.5"]
    assert other["cost"]["source"] == str(tiny_model)  # the time was over
    assert other["probe"] is None
    assert by_id["google-bert/bert-base-chinese"]["cost"] is None
    assert by_id["google-bert/bert-base-chinese"]["verdict"] == "unfit"
    assert found["data"]["rows"] == 180
    assert "en" in found["data"]["languages"]


@pytest.mark.slow
@pytest.mark.usefixtures("_short_list")
def test_shapes_that_are_alike_cost_the_same(rows):
    found = tunesmith.suggest_models(rows, max_seconds=60, progress=False)
    costs = {it["id"]: it["cost"] for it in found["models"]}
    assert costs[LISTED[0]] == costs[LISTED[1]]
    assert costs[LISTED[2]]["epoch_s"] > 2 * costs[LISTED[0]]["epoch_s"]
    order = [it["verdict"] for it in found["models"]]
    assert order == sorted(order, key=["recommended", "possible", "unfit"].index)
    assert found.recommended == [LISTED[0], LISTED[1]] or found.recommended == [LISTED[1], LISTED[0]]


@pytest.mark.usefixtures("_short_list")
def test_the_answer_is_shown_as_text_page_and_table(rows):
    found = tunesmith.suggest_models(rows, max_seconds=0, progress=False)
    lines = repr(found).splitlines()
    assert max(map(len, lines)) <= 110
    assert any("bge-small" in line and "33.4 M" in line for line in lines)
    assert "bge-small" in found._repr_html_()
    assert {row["model"] for row in found.table} == set(LISTED)
    assert found.to_json() == dict(found)


@pytest.mark.usefixtures("_short_list")
def test_a_task_without_a_probe_says_so(tmp_path):
    from tunesmith.testing.tiny import tiny_task_rows

    data = write_rows(tmp_path / "chat.jsonl", tiny_task_rows("chat", 40))
    model = write_tiny_model(tmp_path / "llama", family="llama")
    found = tunesmith.suggest_models(
        data, task="chat", add=[model], probe=True, max_seconds=0, progress=False
    )
    assert "no linear head" in found["not_probed"]
    assert all(it["probe"] is None for it in found["models"])
    assert found["not_probed"] in repr(found)


@pytest.mark.usefixtures("_short_list")
def test_the_code_of_the_page_runs(tmp_path, monkeypatch, capsys):
    page = Path(__file__).parents[2] / "docs" / "choosing.md"
    [block] = re.findall(r"```python\n(.+?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    write_rows(tmp_path / "reviews.csv", tiny_rows(120))
    monkeypatch.chdir(tmp_path)
    exec(compile(block.replace("max_seconds=5", "max_seconds=0, progress=False"), str(page), "exec"), {})
    assert "bge-small" in capsys.readouterr().out


def test_without_data_there_are_facts_alone(monkeypatch):
    monkeypatch.setattr(suggesting, "cached_models", list)
    found = tunesmith.suggest_models(task="ner", progress=False)
    assert found["task"] == "token-classification"
    assert len(found["models"]) >= 40
    assert all(it["cost"] is None for it in found["models"])
    assert found["data"] is None


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"task": "nerd"}, "is not a task"),
        ({"data": "missing.csv"}, "no such file"),
        ({"task": "chat", "add": ["no/such-model"]}, "is not found"),
        ({"task": "chat", "add": ["."]}, "must have a config.json"),
        ({"probe": True}, "needs rows with labels"),
        ({"max_seconds": -1.0}, "must be 0 or more"),
    ],
)
def test_what_is_wrong_is_said_with_a_remedy(keywords, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=said) as error:
        tunesmith.suggest_models(progress=False, **keywords)
    assert error.value.remedy


def test_one_model_is_described_with_its_sources(tiny_model):
    facts = describe_model("google/flan-t5-small")
    assert facts["parameters"] == 76_961_152
    assert facts["sources"]["paper"] == "https://arxiv.org/abs/2210.11416"
    assert facts["available"] is None
    here = describe_model(str(tiny_model))
    assert here["sources"]["config"] == str(tiny_model)
    with pytest.raises(UserError, match="is not in the list"):
        describe_model("flan-t5-tiny")
    with pytest.raises(UserError, match=r"config\.json"):
        describe_model(str(tiny_model.parent))


@pytest.mark.parametrize(
    ("task", "rows", "languages", "crosses", "pairs"),
    [
        (
            "translation",
            [{"source": f"The old house number {i} stands near the river and nobody has lived there for years.",
              "target": f"Das alte Haus Nummer {i} steht am Fluss, und seit Jahren hat dort niemand gewohnt."}
             for i in range(40)],
            {"en", "de"}, True, False,
        ),
        (
            "text-classification",
            [{"text": f"Je ne suis pas content du produit numéro {i}, il est arrivé trop tard chez nous.",
              "text_pair": f"Le colis {i} est en retard depuis trois semaines, que faut-il faire maintenant ?",
              "label": "ab"[i % 2]} for i in range(40)],
            {"fr"}, False, True,
        ),
    ],
)  # fmt: skip
def test_the_data_say_which_languages_and_whether_texts_are_compared(
    task, rows, languages, crosses, pairs, tmp_path
):
    from tunesmith.api import build_recipe

    recipe = build_recipe(
        task=task, data=str(write_rows(tmp_path / "rows.jsonl", rows)), output_dir=str(tmp_path / "run")
    )
    facts = facts_of(TASKS.get(task), SampleRows(recipe, prepare(TASKS.get(task), recipe), {}))
    assert set(facts.languages) == languages
    assert (facts.crosses, facts.pairs) == (crosses, pairs)
    assert (facts.byte_lengths > facts.lengths).all()
