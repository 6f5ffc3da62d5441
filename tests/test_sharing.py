"""A run goes to the Hub and back, by the real client, against a stand-in of the Hub's HTTP interface."""

import json
import shutil

import huggingface_hub
import pytest

import tunesmith
from tunesmith import sharing
from tunesmith.cli.main import main
from tunesmith.errors import ModelError, RecipeError, RunError, UserError
from tunesmith.testing.hub import client_of, stand_in_hub

TEXTS = ["the cat is red", "old new big blue"]


@pytest.fixture
def hub(monkeypatch):
    with stand_in_hub() as hub, client_of(hub, monkeypatch):
        yield hub


def test_a_run_goes_to_the_hub_and_back(hub, finished_run, tmp_path):
    made = tunesmith.push(finished_run.path, "me/pets", private=True, license="mit")
    there = hub.repositories["me/pets"]
    assert there.private
    assert (
        set(there.files)
        == set(made.files)
        >= {"README.md", "export.json", "model.safetensors", "config.json"}
    )
    card = there.files["README.md"].decode()
    assert "license: mit" in card
    assert "model='me/pets'" in card.replace('"', "'")
    facts = tunesmith.pull("me/pets", output_dir=tmp_path / "pets")
    ours, theirs = tunesmith.load(finished_run.path), tunesmith.load(facts["path"])
    assert ours(TEXTS, top_k=None) == theirs(TEXTS, top_k=None)
    assert json.loads((tmp_path / "pets" / "export.json").read_text())["source"] == {"hub": "me/pets"}


def test_an_existing_repository_is_replaced_with_force_alone(hub, finished_run):
    tunesmith.push(finished_run.path, "me/pets")
    hub.repositories["me/pets"].files["old.txt"] = b"of another model"
    with pytest.raises(RunError, match="already has"):
        tunesmith.push(finished_run.path, "me/pets")
    tunesmith.push(finished_run.path, "me/pets", force=True)
    assert "old.txt" not in hub.repositories["me/pets"].files


def test_what_was_changed_on_the_hub_is_not_taken(hub, finished_run, tmp_path):
    tunesmith.push(finished_run.path, "me/pets")
    files = hub.repositories["me/pets"].files
    files["evil.py"] = b"print('run me')"
    files["tokenizer_config.json"] = files["tokenizer_config.json"] + b" "
    with pytest.raises(ModelError, match=r"`tokenizer_config.json` of `me/pets` is missing or not the file"):
        tunesmith.pull("me/pets", output_dir=tmp_path / "pets")
    assert not (tmp_path / "pets").exists()
    assert list(tmp_path.iterdir()) == []


def test_what_was_added_on_the_hub_is_not_taken(hub, finished_run, tmp_path):
    tunesmith.push(finished_run.path, "me/pets")
    hub.repositories["me/pets"].files["chat_template.jinja"] = b"{{ messages }}"
    with pytest.raises(ModelError, match=r"`chat_template\.jinja` of `me/pets` was not pushed"):
        tunesmith.pull("me/pets", output_dir=tmp_path / "pets")
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_pull_is_replaced_with_force_alone(hub, finished_run, tmp_path):
    tunesmith.push(finished_run.path, "me/pets")
    for force in (False, True):
        facts = tunesmith.pull("me/pets", output_dir=tmp_path / "pets", force=force)
    assert tunesmith.load(facts["path"])(TEXTS)
    with pytest.raises(RunError, match="already exists"):
        tunesmith.pull("me/pets", output_dir=tmp_path / "pets")
    assert [it.name for it in tmp_path.iterdir()] == ["pets"]


def test_code_is_not_downloaded(hub, finished_run, tmp_path):
    tunesmith.push(finished_run.path, "me/pets")
    hub.repositories["me/pets"].files["evil.py"] = b"print('run me')"
    tunesmith.pull("me/pets", output_dir=tmp_path / "pets")
    assert not (tmp_path / "pets" / "evil.py").exists()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run, to: tunesmith.pull("me/none", output_dir=to), "the Hub has no `me/none`"),
        (lambda run, to: tunesmith.pull("no name", output_dir=to), "a name on the Hub is `USER/NAME`"),
        (lambda run, to: tunesmith.push(run, "pets"), "a name on the Hub is `USER/NAME`"),
    ],
)
def test_errors_say_what_to_do(hub, finished_run, tmp_path, call, message):
    with pytest.raises(UserError, match=message) as caught:
        call(finished_run.path, tmp_path / "pets")
    assert caught.value.remedy


def test_a_wrong_token(hub, finished_run, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UserError, match=r"refuses `me/pets` \(HTTP 401\)|the Hub has no `me/pets`") as caught:
        tunesmith.push(finished_run.path, "me/pets")
    assert "hf auth login" in caught.value.remedy


def test_a_hub_that_cannot_be_reached(finished_run, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    huggingface_hub.close_session()
    with pytest.raises(UserError, match="the Hub cannot be reached"):
        tunesmith.push(finished_run.path, "me/pets")
    huggingface_hub.close_session()


def test_without_a_network_nothing_is_tried(finished_run, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(RecipeError, match="HF_HUB_OFFLINE forbids"):
        tunesmith.push(finished_run.path, "me/pets")
    with pytest.raises(RecipeError, match="HF_HUB_OFFLINE forbids"):
        tunesmith.pull("me/pets")


def test_a_dry_run_shows_files_and_card(finished_run, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["tunesmith", "push", str(finished_run.path), "me/pets", "--dry-run"])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert "model.safetensors" in shown
    assert "## How good it is" in shown
    assert "nothing was uploaded" in shown


@pytest.fixture
def export(finished_run, tmp_path):
    """A folder that can be spoiled."""
    shutil.copytree(finished_run.model, tmp_path / "spoiled")
    made = sharing._facts(finished_run.path)
    (tmp_path / "spoiled" / "export.json").write_text(json.dumps(made))
    return tmp_path / "spoiled"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("rows.csv", "text,label\n", "`rows.csv` is none"),
        ("notes.txt", "see /home/ann/secret/plan.txt", "`/home/ann/secret/plan.txt`"),
        ("notes.txt", r"see C:\Users\ann\plan.txt", r"C:\\Users\\ann"),
        ("notes.txt", "the token is hf_" + "a1" * 17, "a key or a token"),
        ("notes.txt", "AKIA" + "ABCD" * 4, "a key or a token"),
        ("notes.txt", "postgresql://ann:hunter2@host/db", "a password in a URL"),
        ("notes.txt", "-----BEGIN RSA PRIVATE KEY-----", "a key or a token"),
    ],
)
def test_what_must_not_leave_this_machine_is_refused(export, file, content, message):
    (export / file).write_text(content)
    with pytest.raises(RunError, match=message) as caught:
        sharing.push(export, "me/pets", dry_run=True)
    assert "hunter2" not in str(caught.value)


def test_a_path_of_this_machine_in_a_binary_file(export):
    with (export / "model.safetensors").open("ab") as file:
        file.write(f"{export.parent}/model.py".encode())
    with pytest.raises(RunError, match=r"`model\.safetensors` has a path"):
        sharing.push(export, "me/pets", dry_run=True)


def test_web_addresses_and_usual_words_are_no_paths(export):
    (export / "notes.txt").write_text(
        "https://huggingface.co/home/x and/or 1/2, https://host/data/x and s3://bucket/data/rows, a b: c\n"
    )
    assert sharing.push(export, "me/pets", dry_run=True).files
