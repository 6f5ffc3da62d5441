import json

import numpy as np
import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedTokenizerFast

from tunesmith import load, pipeline
from tunesmith.data.batches import collate
from tunesmith.data.truncation import survey
from tunesmith.errors import RecipeError
from tunesmith.inference.forward import forward
from tunesmith.recipe import Recipe
from tunesmith.tasks import (
    IGNORED,
    TASKS,
    EncodeOptions,
    EvalPredictions,
    RowError,
    _seq2seq,
    point_scores,
    prepare_tokenizer,
)
from tunesmith.testing.tiny import tiny_task_rows, write_rows, write_tiny_model

pytestmark = pytest.mark.usefixtures("lean")

TASK = TASKS.get("translation")
LABELS = "decoder_labels"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("models") / "bart", family="bart", dropout=0.0)


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


def encode(rows, tokenizer, purpose="train", max_length=None):
    read = [TASK.read(row) for row in rows]
    batch = {name: [row[name] for row in read] for name in read[0]}
    return batch, TASK.encode(batch, tokenizer, EncodeOptions(max_length, purpose), {})


ROWS = [
    {"source": "the cat", "target": "THE CAT"},
    {"source": "the old red cat is here", "target": "X"},
    {"source": "dog", "target": "THE DOG IS VERY OLD"},
]


def test_targets_end_and_are_padded_on_the_right_with_what_is_ignored(tokenizer):
    _, encoded = encode(ROWS, tokenizer)
    batch = collate(encoded, pad_token_id=tokenizer.pad_token_id)
    labels = batch[LABELS]
    assert labels.shape[1] != batch["input_ids"].shape[1]
    for row, target in zip(labels, ROWS, strict=True):
        n = int((row != IGNORED).sum())
        assert (row[n:] == IGNORED).all()
        assert row[n - 1] == tokenizer.eos_token_id
        assert tokenizer.pad_token_id not in row[:n]
        assert tokenizer.decode(row[:n], skip_special_tokens=True) == target["target"]
    assert TASK.num_items(encoded).tolist() == [(row != IGNORED).sum() for row in labels]
    assert batch["attention_mask"].sum(1).tolist() == encoded.ragged["input_ids"].lengths.tolist()


def test_the_decoder_reads_the_target_shifted_by_one(folder, tokenizer):
    """What transformers computes itself from the labels is what ours computes."""
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).double().eval()
    _, encoded = encode(ROWS, tokenizer)
    batch = collate(encoded, pad_token_id=tokenizer.pad_token_id)
    with torch.no_grad():
        ours = TASK.forward(model, batch)
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        theirs = model(**inputs, labels=batch[LABELS])
    assert torch.equal(ours, theirs.logits)


def test_every_reference_is_learned_and_the_first_is_scored(tokenizer):
    rows = [
        {"source": "the cat", "target": ["A", "B C", "D"]},
        {"source": "dog", "target": "E"},
        {"source": "red", "target": ["F", "G"]},
    ]
    batch, encoded = encode(rows, tokenizer)
    assert encoded.rows.tolist() == [0, 0, 0, 1, 2, 2]
    assert encoded.n_rows == 3
    written = [tokenizer.decode(encoded.ragged[LABELS][i], skip_special_tokens=True) for i in range(6)]
    assert written == ["A", "B C", "D", "E", "F", "G"]
    read = [tokenizer.decode(encoded.ragged["input_ids"][i], skip_special_tokens=True) for i in range(6)]
    assert read == ["the cat"] * 3 + ["dog"] + ["red"] * 2
    _, scored = encode(rows, tokenizer, "score")
    assert scored.rows.tolist() == [0, 1, 2]
    assert tokenizer.decode(scored.ragged[LABELS][2], skip_special_tokens=True) == "F"
    assert TASK.gold(batch, {}) == [["A", "B C", "D"], "E", ["F", "G"]]


def test_any_reference_counts_as_right():
    columns = {"source": ["x", "y"], "target": [["a b", "c d"], ["e"]]}
    assert TASK.is_correct({"translation_text": "c d"}, ["a b", "c d"])
    assert not TASK.is_correct({"translation_text": "a"}, ["a b", "c d"])
    assert TASK.error_of({"translation_text": "c d"}, ["a b", "c d"]) == pytest.approx(0.0)
    assert TASK.gold(columns, {}) == [["a b", "c d"], "e"]


def test_scores_of_perfect_texts_are_perfect_and_the_loss_is_the_mean(folder, tokenizer):
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    batch, encoded = encode(
        [*ROWS, {"source": "a", "target": ["ONE TWO THREE FOUR", "OTHER"]}], tokenizer, "score"
    )
    kept = forward(TASK, model, encoded, pad_token_id=tokenizer.pad_token_id)
    texts = ["THE CAT", "X", "THE DOG IS VERY OLD", " OTHER "]
    scores = point_scores(TASK, EvalPredictions(batch, encoded, kept, texts), {})
    assert scores["chrf"] == pytest.approx(1.0)
    assert scores["loss"] == pytest.approx(kept[:, 0].sum() / kept[:, 1].sum(), rel=1e-6)
    for name, right in (("summarization", "rougeL"), ("text2text-generation", "exact_match")):
        task = TASKS.get(name)
        source, target = task.inputs[0], task.outputs[0]
        columns = {source: batch["source"], target: batch["target"]}
        assert point_scores(task, EvalPredictions(columns, encoded, kept, texts), {})[right] == pytest.approx(
            1.0
        )


@pytest.mark.parametrize("target", ["", None, [], ["a", ""], 3, [["a"]]])
def test_a_target_that_is_none_is_refused(target):
    with pytest.raises(RowError):
        TASK.read({"source": "a", "target": target})


def test_a_target_that_is_cut_has_no_end_to_learn(tokenizer):
    long = {"source": "the cat", "target": "THE CAT IS OLD AND THE DOG IS NEW"}
    _, full = encode([long, ROWS[0]], tokenizer)
    _, cut = encode([long, ROWS[0]], tokenizer, max_length=12)
    assert cut.ragged[LABELS].lengths.max() <= 12
    assert cut.ragged[LABELS][1][-1] == tokenizer.eos_token_id
    assert tokenizer.eos_token_id not in cut.ragged[LABELS][0]
    assert survey(TASK, full, cut, 12).lost["target tokens"][0] > 0


# ---- characters that the tokenizer lacks ----

UMLAUTS = [
    {**row, "target": row["target"].replace("A", "Ä").replace("O", "🙂")}
    for row in tiny_task_rows("translation", 60)
]


def recipe_for(folder, path, **train):
    file = write_rows(path / "rows.jsonl", [*UMLAUTS, {"source": "once", "target": "ONCE ж"}])
    return Recipe.model_validate({
        "task": "translation", "model": str(folder), "output_dir": str(path / "run"),
        "data": {"train": [str(file)], "test": 0.2},
        "train": {"max_steps": 4, "per_device_train_batch_size": 8, "learning_rate": 1e-3, **train},
        "evaluate": {"bootstrap_samples": 100},
    })  # fmt: skip


def test_characters_of_the_targets_are_added_as_tokens(folder, tmp_path):
    run = pipeline.train(recipe_for(folder, tmp_path))
    tokenizer = AutoTokenizer.from_pretrained(run.model)
    model, info = AutoModelForSeq2SeqLM.from_pretrained(run.model, output_loading_info=True)
    assert not info["missing_keys"]
    before = AutoTokenizer.from_pretrained(folder)
    assert len(tokenizer) == len(before) + 2
    assert model.get_input_embeddings().num_embeddings >= len(tokenizer)
    for text in ("WÄS NEÄR 🙂TTER", "the cat"):
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == text.replace(" ", "")
    assert tokenizer.unk_token_id in tokenizer("ж")["input_ids"], "it stands in one row only"
    assert isinstance(load(run.path)("the cat")["translation_text"], str)


def test_added_characters_are_written_as_they_were_read(tokenizer, folder):
    """Decoding gives the text back, so that what was learned can be compared with the reference."""
    fresh = AutoTokenizer.from_pretrained(folder)
    train = {"target": [[row["target"]] for row in UMLAUTS]}
    assert sorted(prepare_tokenizer(TASK, fresh, train, chat_template="auto")) == ["Ä", "🙂"]
    for text in ("WÄS NEÄR 🙂TTER", "ÄÄ Ä", "THE CÄT"):
        ids = fresh(text_target=text)["input_ids"]
        assert fresh.batch_decode([ids], skip_special_tokens=True)[0].strip() == text


@pytest.mark.parametrize("target", ['{"on": true,\n\t"t": 5} <ok>', "दिल्ली में।", "京都 へ"])
def test_blanks_and_line_breaks_are_added_to_a_tokenizer_without(target):
    """A model of phonemes, say, has letters alone."""
    letters = {letter: i for i, letter in enumerate(["<unk>", "<pad>", *"abcefknorstu"])}
    made = Tokenizer(models.WordLevel(letters, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    made.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", pad_token="<pad>")
    added = prepare_tokenizer(TASK, tokenizer, {"target": [[target]] * 3}, chat_template="auto")
    assert set(added) == set(target) - set(letters)
    assert tokenizer.decode(tokenizer(target)["input_ids"]) == target


def test_for_an_adapter_nothing_is_added_and_what_cannot_be_written_is_told(folder, tmp_path):
    run = pipeline.train(recipe_for(folder, tmp_path, method="lora"))
    assert len(AutoTokenizer.from_pretrained(run.model)) == len(AutoTokenizer.from_pretrained(folder))
    lost = json.loads((run.data / "supervision.json").read_text())["train"]["lost"]
    assert lost["target tokens (unknown to the tokenizer)"][0] > 0


@pytest.fixture
def banning(folder, tmp_path):
    """The same model, which may never write the letter T."""
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model.final_logits_bias[0, tokenizer.convert_tokens_to_ids("T")] = -10_000.0
    model.save_pretrained(tmp_path / "banning")
    tokenizer.save_pretrained(tmp_path / "banning")
    return tmp_path / "banning"


def test_a_ban_on_tokens_of_the_targets_is_lifted_but_not_by_an_adapter(banning, tmp_path):
    run = pipeline.train(recipe_for(banning, tmp_path))
    model = AutoModelForSeq2SeqLM.from_pretrained(run.model)
    assert float(model.final_logits_bias.min()) == 0.0
    other = tmp_path / "adapter"
    other.mkdir()
    with pytest.raises(RecipeError, match="forbids 1 tokens of the targets, and an adapter") as refused:
        pipeline.train(recipe_for(banning, other, method="lora"))
    assert "train.method=full" in refused.value.remedy


def test_nothing_is_added_to_a_tokenizer_that_knows_all(folder):
    fresh = AutoTokenizer.from_pretrained(folder)
    assert prepare_tokenizer(TASK, fresh, {"target": [["THE CAT"]] * 4}, chat_template="auto") == []
    assert prepare_tokenizer(TASK, fresh, {}, chat_template="auto") == []
    assert len(fresh) == len(AutoTokenizer.from_pretrained(folder))


def test_answers_are_as_long_as_those_learned_and_a_little_longer(folder, tmp_path):
    run = pipeline.train(recipe_for(folder, tmp_path))
    tokenizer = AutoTokenizer.from_pretrained(run.model)
    longest = max(len(tokenizer(row["target"])["input_ids"]) for row in UMLAUTS)
    most = run.recipe().generate.max_new_tokens
    assert 0.5 * longest < most <= np.ceil(1.2 * longest) + 1


@pytest.mark.parametrize("family", ["pegasus", "m2m_100"])
def test_the_saved_tokenizer_writes_what_was_trained(family, tmp_path):
    """Classes of transformers make their rules anew when they are loaded, so what is added must survive that."""
    from tunesmith.models.resolve import resolve_model
    from tunesmith.models.tokenizer import load_tokenizer
    from tunesmith.testing.families import write_family

    found = load_tokenizer(resolve_model(str(write_family(tmp_path / "base", family))))
    texts = ["größer € und Käse", "der Käse ist € groß"]
    prepare_tokenizer(TASK, found, {"target": [[text] for text in texts]}, chat_template="auto")
    found.save_pretrained(tmp_path / "saved")
    again = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert again(text_target=texts)["input_ids"] == found(text_target=texts)["input_ids"]


def test_a_class_without_a_shift_of_its_own_is_trained_too():
    class Model:
        class config:  # noqa: N801
            decoder_start_token_id, pad_token_id = 7, 0

    labels = torch.tensor([[4, 5, 2], [6, 2, IGNORED]])
    assert _seq2seq._shifted(Model, labels).tolist() == [[7, 4, 5], [7, 6, 2]]
