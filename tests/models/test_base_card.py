import json

from tunesmith.models.base_card import read_base_card
from tunesmith.models.resolve import ModelFiles, resolve_model


def card_of(folder):
    return read_base_card(resolve_model(str(folder)))


def test_licence_and_language_stand_in_the_card(tiny_model, tmp_path):
    import shutil

    folder = shutil.copytree(tiny_model, tmp_path / "model")
    assert card_of(folder) == {}
    front = "---\nlicense: other\nlicense_name: llama3\nlicense_link: LICENSE\nlanguage: [en, de]\n---\n"
    (folder / "README.md").write_text(front)
    assert card_of(folder) == {
        "license": "other",
        "license_name": "llama3",
        "license_link": "LICENSE",
        "language": ["en", "de"],
    }


def test_a_config_may_name_the_licence_and_a_damaged_card_names_nothing(tiny_model, tmp_path):
    import shutil

    folder = shutil.copytree(tiny_model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "license": "mit"}))
    for damaged in ("---\n{: [\n---\n", "---\n- a\n---\n", "no front matter"):
        (folder / "README.md").write_text(damaged)
        assert card_of(folder) == {"license": "mit"}, damaged


def test_the_packaged_model_is_apache():
    files = resolve_model("sentence-transformers/all-MiniLM-L6-v2")
    assert isinstance(files, ModelFiles)
    assert read_base_card(files) == {"license": "apache-2.0", "language": "en"}
