"""Words of a field in whole runs: saved, read by plain transformers, resumed, refused where they cannot learn."""

import pytest

import tunesmith
from tunesmith.errors import InterruptedRunError, RecipeError, RunError
from tunesmith.events import Step
from tunesmith.testing.listeners import Recorder
from tunesmith.testing.tiny import tiny_rows, write_rows

pytestmark = pytest.mark.usefixtures("lean")
WORD = "cabled"


def train(model, folder, heard=None, should_stop=None, **train):
    rows = [{**row, "text": f"{row['text']} {WORD}"} for row in tiny_rows(60)]
    file = write_rows(folder.parent / "rows.csv", rows)
    return tunesmith.train(
        str(file), label="label", task="text-classification", model=str(model), output_dir=str(folder),
        listeners=[heard] if heard else [], progress=False,
        **({"should_stop": should_stop} if should_stop else {}),
        overrides={
            "train.add_tokens": "auto", "train.max_steps": 2, "train.method": "full", "data.check": "off",
            "evaluate.baselines": False, "evaluate.bootstrap_samples": 100,
            **{f"train.{key}": value for key, value in train.items()},
        },
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tiny_model, tmp_path_factory):
    heard = Recorder()
    found = train(tiny_model, tmp_path_factory.mktemp("added") / "run", heard)
    assert any(f"{WORD}" in note and "words are added to the tokenizer" in note for note in heard.said)
    return found


def test_plain_transformers_gives_the_same_scores(run):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    assert run.manifest()["model"]["added_words"] == [WORD]
    text = f"a {WORD} horse is red"
    folder = f"{run.path}/model"
    model, tokenizer = (
        AutoModelForSequenceClassification.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
    )
    read = tokenizer(text, return_tensors="pt")
    assert tokenizer.convert_tokens_to_ids(WORD) in read["input_ids"][0].tolist()
    with torch.no_grad():
        plain = model.eval()(**read).logits.softmax(-1)[0]
    answer = run.predict([text])[0]
    assert model.config.id2label[int(plain.argmax())] == answer["label"]
    assert answer["score"] == pytest.approx(plain.max().item(), abs=1e-5)


def test_a_run_with_words_is_a_model_for_the_next_one(run, tmp_path):
    heard = Recorder()
    after = train(f"{run.path}", tmp_path / "next", heard, add_tokens=None, method="lora")
    assert after.predict([f"a {WORD}"])[0]["label"] in ("animal", "colour")


@pytest.mark.parametrize("how", [{"method": "lora"}, {"freeze_embeddings": True}, {"freeze_layers": 1}])
def test_rows_that_would_not_learn_are_refused(tiny_model, tmp_path, how):
    with pytest.raises(RecipeError, match=r"train\.add_tokens adds rows to the embeddings"):
        train(tiny_model, tmp_path / "run", **how)


def test_an_interrupted_run_resumes_with_the_same_words_only(tiny_model, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text(f"{WORD}\n")
    steps = Recorder()
    how = {"add_tokens": str(words), "max_steps": 3, "save_steps": 1}
    with pytest.raises(InterruptedRunError):
        train(
            tiny_model,
            tmp_path / "run",
            steps,
            should_stop=lambda: any(isinstance(e, Step) for e in steps.events),
            **how,
        )
    words.write_text(f"{WORD}\nbadge\n")
    with pytest.raises(RunError, match="have changed since the run began: they were 1 and are 2"):
        train(tiny_model, tmp_path / "run", **how)
    words.write_text(f"{WORD}\n")
    resumed = train(tiny_model, tmp_path / "run", **how)
    assert resumed.manifest()["model"]["added_words"] == [WORD]
    assert resumed.manifest()["continued"]
