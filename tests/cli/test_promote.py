"""`tunesmith promote`, `rollback` and `list promotions`, and the same in Python."""

from __future__ import annotations

import json
import shutil

import pytest

import tunesmith as package
from tunesmith.errors import RecipeError, RunError
from tunesmith.run import Run


@pytest.fixture(scope="module")
def two(finished_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    for name in ("old", "new"):
        shutil.copytree(finished_run.path, folder / name)
    config = folder / "new" / "model" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "note": "another run"}))
    Run(folder / "new").finish()
    return folder / "old", folder / "new"


def test_who_promoted_what_when_and_why(tunesmith, two, tmp_path):
    (old, new), registry = two, tmp_path / "registry"
    assert tunesmith("promote", old, "--registry", registry).code == 0
    evidence = tmp_path / "compare.json"
    evidence.write_text('{"p": 0.01}')
    arguments = ("--reason", "new words", "--by", "alice", "--evidence", evidence, "--json")
    made = json.loads(tunesmith("promote", new, "--registry", registry, *arguments).out)
    assert (made["number"], made["run"], made["by"], made["reason"]) == (2, str(new), "alice", "new words")
    assert made["evidence"] == {"p": 0.01}
    done = tunesmith("rollback", "--registry", registry, "--reason", "complaints")
    assert done.code == 0
    assert f"champion   {old}" in done.out
    shown = tunesmith("list", "promotions", registry).out.splitlines()
    assert [line.split()[:3] for line in shown[2:]] == [
        ["1", "promote", str(old)], ["2", "promote", str(new)], ["3", "rollback", str(old)],
    ]  # fmt: skip
    assert "complaints" in shown[-1]
    told = json.loads(tunesmith("list", "promotions", registry, "--json").out)["promotions"]
    assert [one["action"] for one in told] == ["promote", "promote", "rollback"]
    assert "@" in told[0]["by"]
    assert 0 <= told[0]["evidence"]["score"]["value"] <= 1
    (_, _, last) = package.promotions(registry)
    assert last.run == old


def test_scores_of_both_are_the_evidence_if_none_is_given(two, tmp_path):
    old, new = two
    package.promote(old, registry=tmp_path / "registry")
    made = package.promote(new, registry=tmp_path / "registry", reason="it is newer")
    assert made.evidence["champion"]["promotion"] == 1
    assert made.evidence["score"] == made.evidence["champion"]["score"]
    assert package.rollback(registry=tmp_path / "registry", by="bob").by == "bob"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("promote", "nowhere", "--registry", "R"), "is not there"),
        (("promote", "OLD", "--registry", "R", "--evidence", "none.json"), "cannot be read"),
        (("rollback", "--registry", "R"), "has no champion"),
        (("list", "promotions", "R"), "tunesmith promote RUN --registry"),
        (("list", "promotions"), "the registry is missing"),
        (("promote", "OLD"), "--registry"),
        (("serve", "OLD", "--canary-share", "0.5"), "need a `canary`"),
        (("serve", "OLD", "--canary", "OLD"), "is served already"),
        (("serve", "OLD", "--canary", "NEW", "--canary-share", "0"), "above 0 and at most 1"),
    ],
)
def test_what_is_refused(tunesmith, two, tmp_path, arguments, said):
    places = {"OLD": str(two[0]), "NEW": str(two[1]), "R": str(tmp_path / "registry")}
    done = tunesmith(*[places.get(word, word) for word in arguments])
    assert done.code == 2
    assert said in done.err
    assert not (tmp_path / "registry").exists()


def test_a_run_that_gives_no_answer_does_not_become_the_champion(two, tmp_path):
    package.promote(two[0], registry=tmp_path / "registry")
    broken = shutil.copytree(two[1], tmp_path / "broken")
    (broken / "model" / "tokenizer.json").write_text("{}")
    with pytest.raises(Exception):  # noqa: B017, PT011 (whatever its library raises)
        package.promote(broken, registry=tmp_path / "registry")
    assert package.promotions(tmp_path / "registry")[-1].run == two[0]
    with pytest.raises(RecipeError, match="must be a JSON object"):
        (tmp_path / "list.json").write_text("[]")
        package.promote(two[1], registry=tmp_path / "registry", evidence=tmp_path / "list.json")
    with pytest.raises(RunError, match="has no champion"):
        package.promotions(tmp_path / "none")
