import time

import pytest

from tunesmith.data.formats import hub
from tunesmith.data.reading import fingerprint_of, read_rows, source_files, source_name
from tunesmith.errors import DataError


def test_a_data_set_that_is_out_of_reach_says_so():
    with pytest.raises(
        DataError, match="the Hub data set `nobody/nothing` is not in the local cache, and the Hub"
    ):
        list(read_rows("hub:nobody/nothing"))


def test_a_hub_that_does_not_answer_is_given_up_at_once(monkeypatch):
    import huggingface_hub

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises(DataError, match="the Hub cannot be reached") as caught:
        list(read_rows("hub:nobody/nothing"))
    assert time.monotonic() - began < 10
    assert "save_to_disk" in caught.value.remedy


def test_class_labels_come_as_names(monkeypatch):
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    )
    table = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    asked = {}
    monkeypatch.setattr(hub, "_refuse_unreachable", lambda name: None)
    monkeypatch.setattr(datasets, "load_dataset", lambda name, **how: asked.update(name=name, **how) or table)
    found = list(read_rows("hub:some/set:test"))
    assert [row.values for _, row in found] == [{"text": "a", "label": "pos"}, {"text": "b", "label": "neg"}]
    assert (asked["name"], asked["split"]) == ("some/set", "test")
    assert [row.location(file) for file, row in found] == [
        "hub:some/set:test, row 1",
        "hub:some/set:test, row 2",
    ]


def test_a_name_stands_for_itself():
    assert source_files("hub:some/set") == []
    assert fingerprint_of("hub:some/set") == b"hub:some/set"
    assert source_name("hub:some/set") == "hub:some/set"
