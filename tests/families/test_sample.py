"""A sample of the sweep: one task of every family that people bring most, and the page's rows about it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunesmith.testing import family_contract as contract
from tunesmith.testing.families import LEFT_OUT, families

PAGE = Path(__file__).parents[2] / "docs" / "models.json"
SAMPLE = (
    "deberta-v2:Token", "mpnet:Sequence", "modernbert:MaskedLM", "xlm-roberta:Question", "longformer:Token",
    "gemma2:CausalLM", "gemma3_text:Sequence", "qwen3:Question", "qwen3_5_text:CausalLM", "lfm2:CausalLM",
    "opt:CausalLM", "t5:Seq2Seq", "mbart:Seq2Seq", "pegasus:Seq2Seq", "bert:CausalLM", "convbert:Sequence",
)  # fmt: skip


@pytest.mark.parametrize("name", SAMPLE)
def test_a_family_holds_and_the_page_says_so(name, tmp_path):
    family, _, task = name.partition(":")
    (auto_class,) = (known for known in families()[family] if task in known)
    assert contract.make(family, auto_class, tmp_path / "model").kind == contract.OK
    (tmp_path / "work").mkdir()
    found = contract.check(family, auto_class, tmp_path / "model", tmp_path / "work")
    wrong = {step: o.message for step, o in found.items() if o.kind in (contract.WRONG, contract.ERROR)}
    assert not wrong
    entry = {key: value for key, value in vars(contract.describe(found)).items() if value}
    assert json.loads(json.dumps(entry)) == json.loads(PAGE.read_text(encoding="utf-8"))[family][auto_class]


def test_the_page_has_every_family_and_nothing_wrong():
    page = json.loads(PAGE.read_text(encoding="utf-8"))
    assert {family: tuple(sorted(tasks)) for family, tasks in page.items()} == {
        family: tuple(sorted(classes)) for family, classes in families().items()
    }
    assert not [family for family, tasks in page.items() for entry in tasks.values() if "wrong" in entry]
    assert not set(page) & set(LEFT_OUT)
