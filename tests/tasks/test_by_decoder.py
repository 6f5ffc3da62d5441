"""Writing tasks by decoders, compared with plain transformers."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from sacrebleu import CHRF
from transformers import AutoTokenizer, pipeline

import tunesmith
from tunesmith import pipeline as phases
from tunesmith.data.batches import collate
from tunesmith.data.encoding import encode_splits
from tunesmith.data.examples import Examples
from tunesmith.data.packing import pack
from tunesmith.data.preparing import prepare
from tunesmith.effects import without_effect
from tunesmith.errors import DataError, InterruptedRunError, ModelError, RecipeError
from tunesmith.inference.answering import prompts_of
from tunesmith.inference.forward import forward
from tunesmith.inference.generation import generate
from tunesmith.models.loading import load_for_training
from tunesmith.models.resolve import resolve_model
from tunesmith.models.task_of_model import task_of_model
from tunesmith.recipe import Recipe
from tunesmith.reports.usage import with_transformers
from tunesmith.tasks import IGNORED, INSTRUCTION, PLAIN_LOSS, TASKS, EncodeOptions
from tunesmith.testing.families import write_family
from tunesmith.testing.tiny import tiny_task_rows, write_rows, write_tiny_model

pytestmark = pytest.mark.usefixtures("lean")

CHATML = (
    "{% for m in messages %}<s>{{ m.role }}\n{{ m.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)
SCHEMA = {INSTRUCTION: "Say it in short."}
ROWS = {
    "document": [
        "the old red cat is here. the dog is there.",
        "a bird",
        "the fox is near the blue house now.",
    ],
    "summary": [["the red cat"], ["a bird", "bird"], ["the fox"]],
}
FAMILIES = ("llama", "qwen2", "gpt2")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder for each family: with a chat template of its own, or a base model without one (gpt2)."""
    home = tmp_path_factory.mktemp("models")
    folders = {"llama": write_tiny_model(home / "llama", family="llama", dropout=0.0)}
    folders |= {name: write_family(home / name, name) for name in FAMILIES[1:]}
    for name in ("llama", "qwen2"):
        tokenizer = AutoTokenizer.from_pretrained(folders[name])
        marks = {"<s>": tokenizer.bos_token or tokenizer.eos_token, "</s>": tokenizer.eos_token}
        for mark, token in marks.items():
            tokenizer.chat_template = (tokenizer.chat_template or CHATML).replace(mark, token)
        tokenizer.save_pretrained(folders[name])
    return folders


@pytest.fixture(scope="module", params=FAMILIES)
def opened(request, models):
    """Task, model in float64 and tokenizer, as training opens them."""
    files = resolve_model(str(models[request.param]))
    task = task_of_model(TASKS.get("summarization"), files.path)
    loaded = load_for_training(files, task, SCHEMA, pooling="auto", seed=0)
    return task, loaded.model.double().eval(), loaded.tokenizer


def encode(task, tokenizer, purpose="train", max_length=None, rows=ROWS):
    return task.encode(rows, tokenizer, EncodeOptions(max_length, purpose), SCHEMA)


def asked(source):
    return [{"role": "user", "content": f"Say it in short.\n\n{source}"}]


def test_the_loss_of_a_row_is_that_of_transformers_with_the_prompt_masked(opened):
    task, model, tokenizer = opened
    encoded = encode(task, tokenizer, "score")
    kept = forward(task, model, encoded, pad_token_id=tokenizer.pad_token_id)
    for row, (source, (target, *_)) in enumerate(zip(ROWS["document"], ROWS["summary"], strict=True)):
        reply = {"role": "assistant", "content": target}
        whole = tokenizer.apply_chat_template([*asked(source), reply], tokenize=False)
        end = whole.rindex(target) + len(target)
        ends = [at + len(t) for t in tokenizer.all_special_tokens if (at := whole.find(t, end)) >= 0]
        read = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
        start = whole.rindex(target)
        learned = [start < stop and first < min(ends) for first, stop in read["offset_mapping"]]
        ids = torch.tensor([read["input_ids"]])
        labels = ids.masked_fill(~torch.tensor([learned]), -100)
        stock = model(input_ids=ids, labels=labels).loss.item() * sum(learned)
        assert kept[row].tolist() == pytest.approx([stock, sum(learned)], rel=1e-6), source


def test_prompts_are_those_of_the_template_with_the_mark_of_a_reply(opened):
    task, _, tokenizer = opened
    prompts = prompts_of(task, ROWS, tokenizer, 10_000, SCHEMA)
    for row, source in enumerate(ROWS["document"]):
        theirs = tokenizer.apply_chat_template(asked(source), add_generation_prompt=True)["input_ids"]
        assert prompts.ragged["input_ids"][row].tolist() == theirs
    learned = encode(task, tokenizer, "score")
    for row in range(3):
        prompt, ids = prompts.ragged["input_ids"][row], learned.ragged["input_ids"][row]
        assert ids[: len(prompt)].tolist() == prompt.tolist(), "training sees the prompt that is asked"
        first = np.flatnonzero(learned.ragged["labels"][row] != IGNORED)[0]
        assert first == len(prompt)


def test_every_reference_is_learned_and_the_first_is_scored(opened):
    task, _, tokenizer = opened
    learned, scored = encode(task, tokenizer), encode(task, tokenizer, "score")
    assert learned.rows.tolist() == [0, 1, 1, 2]
    assert scored.rows.tolist() == [0, 1, 2]
    texts = [
        tokenizer.decode([i for i in learned.ragged["labels"][row] if i != IGNORED], skip_special_tokens=True)
        for row in range(4)
    ]
    assert [text.strip() for text in texts] == ["the red cat", "a bird", "bird", "the fox"]
    ends = set(task.generation.end_tokens(tokenizer))
    assert all(int(scored.ragged["labels"][row][-1]) in {*ends, IGNORED} for row in range(3))


def test_packed_texts_have_the_loss_of_padded_ones(opened):
    task, model, tokenizer = opened
    encoded = encode(task, tokenizer)
    packed = pack(encoded, 400)
    assert len(packed) < len(encoded)
    losses = []
    for one in (encoded, packed):
        batch = collate(one, pad_token_id=tokenizer.pad_token_id)
        with torch.no_grad():
            losses.append(float(task.loss(task.forward_items(model, batch), batch, PLAIN_LOSS)))
    assert task.num_items(packed).sum() == task.num_items(encoded).sum()
    if type(model).__name__ != "GPT2LMHeadModel":  # which is not packed (docs/models.md)
        assert losses[0] == pytest.approx(losses[1], rel=1e-9)


# ---- long sources ----


LONG = {"document": ["first " + "cat " * 300 + "last"], "summary": [["the cat"]]}


def test_a_long_source_loses_its_end_and_the_prompt_keeps_instruction_and_mark(opened):
    task, _, tokenizer = opened
    most = 120
    asking = encode(task, tokenizer, "predict", most, {"document": LONG["document"]}).ragged["input_ids"][0]
    assert 80 <= len(asking) <= most - most // 4, "a quarter is left for the answer"
    text = tokenizer.decode(asking)
    assert "Say it in short." in text
    assert "first" in text
    assert "last" not in text
    whole = tokenizer.apply_chat_template(asked("a"), add_generation_prompt=True)["input_ids"]
    assert asking[-3:].tolist() == whole[-3:], "the reply is asked for"
    learned = encode(task, tokenizer, "train", most, LONG)
    labels = [i for i in learned.ragged["labels"][0] if i != IGNORED]
    full = [i for i in encode(task, tokenizer, "train", None, LONG).ragged["labels"][0] if i != IGNORED]
    assert labels == full, "the target stays whole"
    assert learned.lengths[0] >= len(asking) + len(full)


def test_training_reads_what_predictions_read_and_the_report_says_what_is_cut(opened):
    """Also where prompt and target together fit, but the prompt leaves less than a quarter for an answer."""
    task, _, tokenizer = opened
    rows = Examples(
        {"document": ["cat " * 30 + "last", "a cat"], "summary": [["the cat"], ["x"]]}, ("a",),
        np.zeros(2, np.int32), np.arange(1, 3),
    )  # fmt: skip
    whole = len(encode(task, tokenizer, "train", None, rows.columns).ragged["input_ids"][0])
    with tempfile.TemporaryDirectory() as cache:
        made = encode_splits(
            task, {"train": rows}, tokenizer, SCHEMA, choose_max_length=lambda longest: whole + 4, overlap=None,
            cache=Path(cache),
        )  # fmt: skip
    asked_for = encode(task, tokenizer, "predict", whole + 4, rows.columns).ragged["input_ids"]
    for row in range(2):
        prompt, learned = asked_for[row], made.splits["train"].ragged["input_ids"][row]
        assert learned[: len(prompt)].tolist() == prompt.tolist()
    assert made.truncation["train"].rows_cut == 1


@pytest.mark.parametrize("text", ["猫は赤い。" * 60, "🙂👩‍👩‍👧" * 40, "c" * 700, "a  \n\n " * 100])
def test_texts_of_any_script_keep_as_much_as_fits(opened, text):
    """Characters of several tokens, and white space, are no reason to lose the whole source."""
    task, _, tokenizer = opened
    most = 128
    ids = encode(task, tokenizer, "predict", most, {"document": [text]}).ragged["input_ids"][0]
    assert most * 3 // 4 - 12 <= len(ids) <= most * 3 // 4 or len(ids) == len(
        tokenizer.apply_chat_template(asked(text), add_generation_prompt=True)["input_ids"]
    )
    assert text[:4].strip() in tokenizer.decode(ids) or tokenizer.unk_token_id in ids


def test_only_what_is_longer_than_the_limit_alone_takes_from_the_target(opened):
    task, _, tokenizer = opened
    rows = {"document": ["a cat"], "summary": [["cat " * 300]]}
    learned = encode(task, tokenizer, "train", 100, rows)
    assert learned.lengths[0] == 100
    assert learned.ragged["labels"][0][-1] != IGNORED
    assert int(learned.ragged["labels"][0][-1]) not in task.generation.end_tokens(tokenizer)


# ---- runs ----


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rows = tiny_task_rows("translation", 70)
    return write_rows(folder / "train.jsonl", rows[:54]), write_rows(folder / "test.jsonl", rows[54:])


def recipe_of(models, files, folder, *, task="translation", model="llama", data=None, **train):
    return Recipe.model_validate({
        "task": task, "model": str(models[model]), "output_dir": str(folder),
        "data": {"train": [str(files[0])], "validation": 0.2, "test": [str(files[1])], **(data or {})},
        "train": {"max_steps": 6, "learning_rate": 2e-3, "per_device_train_batch_size": 8, **train},
        "generate": {"max_new_tokens": 8},
        "evaluate": {"bootstrap_samples": 100},
    })  # fmt: skip


@pytest.fixture(scope="module", params=["full", "lora"])
def run(request, models, files, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNESMITH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        folder = tmp_path_factory.mktemp("runs") / "run"
        data = {"instruction": "Write it in capitals."}
        return phases.train(recipe_of(models, files, folder, data=data, method=request.param))


def test_scores_of_training_evaluation_and_answers_agree(run, files):
    scored = run.metrics["splits"]["test"]
    again = tunesmith.evaluate(run.path, str(files[1]))["splits"]["test"]
    assert {name: score["value"] for name, score in again.items()} == pytest.approx(
        {name: score["value"] for name, score in scored.items()}, abs=1e-5
    )
    rows = [json.loads(line) for line in files[1].read_text().splitlines()]
    texts = [a["translation_text"] for a in tunesmith.load(run.path)([row["source"] for row in rows])]
    written = [json.loads(line) for line in (run.predictions / "test.jsonl").read_text().splitlines()]
    assert texts == [line["prediction"]["translation_text"] for line in written]
    theirs = CHRF().corpus_score(texts, [[row["target"] for row in rows]]).score / 100
    assert scored["chrf"]["value"] == pytest.approx(theirs, abs=1e-6)


def test_plain_transformers_gives_the_same_answer_from_the_code_of_the_card(run, models):
    ours = tunesmith.predict(run.path, "a text")["translation_text"]
    code = with_transformers(run, str(run.model), base=str(models["llama"]))
    assert "Write it in capitals.\\n\\na text" in code
    names = {}
    exec(compile(code, "the card", "exec"), names)
    answer = names["answer"]
    theirs = answer if isinstance(answer, str) else answer[0]["generated_text"][-1]["content"]
    assert theirs.strip() == ours
    assert ours


def test_the_card_is_that_of_a_model_that_writes(run):
    card = (run.model / "README.md").read_text()
    assert "pipeline_tag: text-generation" in card
    assert "Write it in capitals." in card


def test_the_instruction_is_kept_with_the_model(run):
    config = json.loads(
        next(
            file
            for name in ("adapted_model_config.json", "config.json")
            if (file := run.model / name).is_file()
        ).read_text()
    )
    assert config["tunesmith_instruction"] == "Write it in capitals."
    assert run.manifest()["label_schema"] == {INSTRUCTION: "Write it in capitals."}


def test_answers_to_long_sources_say_so(run):
    short, long = tunesmith.load(run.path)(["the cat", "the cat " * 300])
    assert "truncated" not in short
    assert long["truncated"] is True


@pytest.mark.parametrize("to", ["merged", "bf16"])
def test_a_run_is_exported(run, to, tmp_path):
    # To the tiny model, every word is about as likely as another: rounding changes its answers.
    allowed = {"export.min_agreement": 0.0, "export.max_metric_drop": 1.0} if to == "bf16" else {}
    facts = tunesmith.export(run.path, to=to, output_dir=tmp_path / to, progress=False, overrides=allowed)
    assert facts
    ours, theirs = (tunesmith.load(path)("the cat") for path in (run.path, tmp_path / to))
    if to == "merged":
        assert ours == theirs
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / to)
        writer = pipeline("text-generation", str(tmp_path / to), tokenizer=tokenizer)
        said = writer([{"role": "user", "content": "Write it in capitals.\n\nthe cat"}], max_new_tokens=8)
        assert said[0]["generated_text"][-1]["content"].strip() == ours["translation_text"]


def test_a_stopped_run_resumes_bit_for_bit(models, files, tmp_path):
    whole = phases.train(recipe_of(models, files, tmp_path / "whole"))
    asked_n = iter(range(100))
    again = recipe_of(models, files, tmp_path / "parts")
    with pytest.raises(InterruptedRunError):
        phases.train(again, should_stop=lambda: next(asked_n) >= 2)
    parts = phases.train(again)
    one, other = ((r.model / "model.safetensors").read_bytes() for r in (whole, parts))
    assert one == other
    assert whole.metrics["splits"] == parts.metrics["splits"]


# ---- the recipe ----


@pytest.mark.parametrize(
    ("task", "columns", "expected"),
    [
        ("translation", {"source": "en", "target": "de"}, "Translate from English to German."),
        ("translation", {"source": "src", "target": "fr"}, "Translate to French."),
        ("translation", {"source": "src", "target": "tgt"}, "Translate the text."),
        ("summarization", {"document": "body", "summary": "tldr"}, "Summarize the text."),
    ],
)
def test_the_default_instruction_names_what_is_known(task, columns, expected):
    decoder = TASKS.get(task).decoders.task()
    assert decoder.instruction.default(columns) == expected


@pytest.mark.parametrize(
    ("given", "kept"), [("auto", "Translate the text."), ("", ""), ("  Do it. ", "Do it.")]
)
def test_an_instruction_is_the_recipes_or_the_tasks_or_none(models, files, given, kept):
    task = TASKS.get("translation").decoders.task()
    recipe = recipe_of(models, files, "unused", data={"instruction": given})
    assert prepare(task, recipe).label_schema == {INSTRUCTION: kept}


def test_without_an_instruction_the_source_is_asked_alone(opened):
    task, _, tokenizer = opened
    made = task.encode(
        {"document": ["the cat"]}, tokenizer, EncodeOptions(None, "predict"), {INSTRUCTION: ""}
    )
    theirs = tokenizer.apply_chat_template(
        [{"role": "user", "content": "the cat"}], add_generation_prompt=True
    )
    assert made.ragged["input_ids"][0].tolist() == theirs["input_ids"]


def test_a_model_with_an_encoder_refuses_an_instruction_and_says_what_to_do(files, tmp_path):
    base = {"bart": write_tiny_model(tmp_path / "bart", family="bart")}
    recipe = recipe_of(base, files, tmp_path / "run", model="bart", data={"instruction": "Do it."})
    with pytest.raises(RecipeError) as error:
        phases.train(recipe)
    assert error.value.rule == "data.instruction has no effect on `translation` by a model with an encoder."
    assert "Decoders use it, such as `HuggingFaceTB/SmolLM2-135M-Instruct`." in error.value.remedy
    assert "belongs in the column of the texts" in error.value.remedy


def test_what_only_a_model_with_an_encoder_supports_is_refused_for_a_decoder(models, files, tmp_path):
    recipe = recipe_of(models, files, tmp_path / "run", r_drop_alpha=1.0)
    with pytest.raises(RecipeError, match="r_drop_alpha has no effect on `translation` by a decoder alone"):
        phases.train(recipe)


def test_too_long_stop_names_what_would_be_cut(models, tmp_path):
    rows = [{"source": f"{i} " + "cat " * 300, "target": "CAT"} for i in range(30)]
    files = (write_rows(tmp_path / "a.jsonl", rows), write_rows(tmp_path / "b.jsonl", rows[:4]))
    recipe = recipe_of(models, files, tmp_path / "run", data={"too_long": "stop", "check": "off"})
    with pytest.raises(DataError, match=r"data\.too_long is `stop`"):
        phases.train(recipe)


def test_the_keys_of_decoders_have_an_effect_on_them_alone(models, files):
    recipe = recipe_of(models, files, "unused")
    by_encoder, by_decoder = (
        without_effect(task, recipe)
        for task in (TASKS.get("translation"), TASKS.get("translation").decoders.task())
    )
    for key in ("data.instruction", "data.chat_template"):
        assert key in by_encoder
        assert key not in by_decoder


@pytest.mark.parametrize(
    ("kind", "is_decoder"),
    [("llama", True), ("gemma2", True), ("gpt2", True), ("bart", False), ("t5", False)],
)
def test_the_models_config_says_whether_it_is_a_decoder_alone(kind, is_decoder, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    for name in ("summarization", "translation", "text2text-generation"):
        found = task_of_model(TASKS.get(name), tmp_path)
        assert (found.name, found.instruction is not None) == (name, is_decoder)
    assert task_of_model(TASKS.get("chat"), tmp_path) is TASKS.get("chat")


def test_an_encoder_alone_is_refused(files, tmp_path):
    base = {"bert": write_tiny_model(tmp_path / "bert", family="bert")}
    with pytest.raises(ModelError) as error:
        phases.train(recipe_of(base, files, tmp_path / "run", model="bert"))
    assert error.value.remedy


def test_the_answer_of_a_model_is_what_it_generates(opened):
    """Greedy, without the prompt and the marks."""
    task, model, tokenizer = opened
    model.generation_config.max_new_tokens = 6
    model.generation_config.do_sample = False
    made = generate(model, tokenizer, encode(task, tokenizer, "predict"))
    for row, source in enumerate(ROWS["document"]):
        prompt = tokenizer.apply_chat_template(
            asked(source), add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        ids = model.generate(**prompt, max_new_tokens=6, do_sample=False)[0, prompt["input_ids"].shape[1] :]
        assert made.texts[row] == tokenizer.decode(ids, skip_special_tokens=True)
