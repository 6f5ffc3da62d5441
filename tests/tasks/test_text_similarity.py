"""Pairs, labels, triplets: what is learned of them, how it is scored, and the folder that comes out of it."""

import json
import shutil

import numpy as np
import pytest
import torch

import tunesmith
from tunesmith import pipeline
from tunesmith.data.guessing import guess_task
from tunesmith.errors import DataError, ModelError, RecipeError
from tunesmith.models.resolve import resolve_model
from tunesmith.models.sentence_folder import vectors_of_folder
from tunesmith.recipe import Recipe
from tunesmith.run import Run
from tunesmith.tasks import TASKS, EncodeOptions, EvalPredictions, RowError, point_scores
from tunesmith.tasks import _vectors as vectors
from tunesmith.testing._bench import Bench
from tunesmith.testing.families import write_family
from tunesmith.testing.listeners import at_step, raising
from tunesmith.testing.tiny import tiny_task_rows, write_rows, write_tiny_model
from tunesmith.training.optimizer import clip_gradient

TASK = TASKS.get("text-similarity")
ROWS = tiny_task_rows("text-similarity", 72, seed=3)
LABELLED = [{**row, "score": "similar" if row["score"] > 1 else "different"} for row in ROWS]
NLI = ("entailment", "neutral", "contradiction")
PAIRS = [{"anchor": row["text"], "positive": row["text_pair"]} for row in ROWS]
TRIPLETS = [
    {**row, "negative": ROWS[-i]["text_pair"] if i % 3 else None} for i, row in enumerate(PAIRS, start=1)
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("models") / "bert", dropout=0.0)


@pytest.fixture
def recipe_of(model, tmp_path):
    """From rows to a recipe of a few steps."""

    def make(rows, name="run", base=model, **train):
        parts = {"train": rows[:40], "validation": rows[40:56], "test": rows[56:]}
        files = {part: [str(write_rows(tmp_path / f"{part}.jsonl", some))] for part, some in parts.items()}
        how = {"max_steps": 6, "learning_rate": 2e-3, "per_device_train_batch_size": 12, "bf16": False}
        return Recipe.model_validate({
            "task": "text-similarity", "model": str(base), "output_dir": str(tmp_path / name), "data": files,
            "train": {**how, **train}, "evaluate": {"bootstrap_samples": 100},
        })  # fmt: skip

    return make


def read(rows):
    """Columns of rows, as the task reads them."""
    found = [TASK.read(row) for row in rows]
    return {name: [row[name] for row in found] for name in found[0]}


# ---- rows ----


@pytest.mark.parametrize(
    ("value", "number"),
    [(3.5, 3.5), ("2", 2.0), (True, 1.0), ("duplicate", 1.0), ("Not duplicate", 0.0), ("entailment", 1.0),
     ("neutral", 0.5), ("contradiction", 0.0)],
)  # fmt: skip
def test_scores_and_labels_are_numbers(value, number):
    assert TASK.read({"text": "a", "text_pair": "b", "score": value})["score"] == number


@pytest.mark.parametrize("value", ["maybe", None, "", "1,5"])
def test_what_is_no_score_is_refused(value):
    with pytest.raises(RowError, match="score"):
        TASK.read({"text": "a", "text_pair": "b", "score": value})


def test_a_row_has_a_score_or_a_negative():
    with pytest.raises(RowError, match="not both"):
        TASK.read({"text": "a", "text_pair": "b", "score": 1, "negative": "c"})


def test_the_kind_of_the_rows_is_learned():
    assert TASK.learn_label_schema(read(ROWS)) == {"kind": "scores", "low": 0.0, "high": 3.0}
    assert TASK.learn_label_schema(read(LABELLED))["kind"] == "labels"
    pairs = {"text": ["a", "b"], "text_pair": ["c", "d"]}
    assert TASK.learn_label_schema(pairs) == {"kind": "pairs", "has_negatives": False}
    assert TASK.notices(pairs, {"kind": "pairs"})[0].startswith("the rows have no scores")
    with pytest.raises(DataError, match="all 2 training rows have the score 4"):
        TASK.learn_label_schema({**pairs, "score": [4.0, 4.0]})
    with pytest.raises(DataError, match="the same second text"):
        TASK.learn_label_schema({"text": ["a", "b"], "text_pair": ["c", "c"]})


@pytest.mark.parametrize(
    ("rows", "task"),
    [
        ([{"sentence1": f"a {i}", "sentence2": f"the {i}", "score": i / 7} for i in range(40)], "text-similarity"),
        ([{"anchor": f"a {i}", "positive": f"the {i}", "negative": f"no {i}"} for i in range(40)],
         "text-similarity"),
        ([{"premise": f"a {i}", "hypothesis": f"the {i}", "label": NLI[i % 3]} for i in range(40)],
         "text-classification"),
        ([{"text": f"a {i}", "score": i / 7} for i in range(40)], "text-regression"),
    ],
    ids=["scores", "triplets", "inference", "single texts"],
)  # fmt: skip
def test_the_task_is_guessed_from_the_columns(tmp_path, rows, task):
    file = write_rows(tmp_path / "rows.jsonl", rows)
    assert guess_task([str(file)]).task == task


@pytest.mark.parametrize(
    ("scores", "expected"), [([1.0, 3.0, 5.0], [0.0, 0.5, 1.0]), ([-2.0, 0.0, 1.0], [-1.0, 0.0, 0.5])]
)
def test_scores_are_scaled_by_what_training_rows_show(model, scores, expected):
    columns = {"text": ["cat"] * 3, "text_pair": ["dog"] * 3, "score": scores}
    schema = TASK.learn_label_schema(columns)
    encoded = TASK.encode(columns, tokenizer_of(model), EncodeOptions(None, "train"), schema)
    assert encoded.dense["labels"].tolist() == expected


def tokenizer_of(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def test_rows_of_another_kind_are_refused():
    with pytest.raises(RowError, match="training rows have one"):
        TASK.check_targets({"text": "a", "text_pair": "b"}, {"kind": "scores"})
    with pytest.raises(RowError, match="training rows have none"):
        TASK.check_targets({"text": "a", "text_pair": "b", "score": 1.0}, {"kind": "pairs"})
    with pytest.raises(RowError, match="only 0 and 1"):
        TASK.check_targets({"text": "a", "text_pair": "b", "score": 0.4}, {"kind": "labels"})


# ---- losses ----


@pytest.fixture(scope="module")
def drawn():
    generator = torch.Generator().manual_seed(4)
    return torch.randn(7, 3, 5, generator=generator, dtype=torch.float64)


def test_cosent_is_that_of_sentence_transformers(drawn):
    from sentence_transformers.sentence_transformer.losses import CoSENTLoss

    scores = torch.tensor([0.1, 0.9, 0.5, 0.5, 0.0, 1.0, 0.3], dtype=torch.float64)
    theirs = CoSENTLoss(None).compute_loss_from_embeddings([drawn[:, 0], drawn[:, 1]], scores)
    ours = vectors.cosent_loss(drawn[:, :2], scores)
    assert float(ours) == pytest.approx(7 * float(theirs), rel=1e-12)
    assert float(vectors.cosent_loss(drawn[:, :2], torch.ones(7))) == 0.0


@pytest.mark.parametrize("texts", [2, 3])
def test_in_batch_negatives_are_those_of_sentence_transformers(drawn, texts):
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    loss = MultipleNegativesRankingLoss(None)
    theirs = loss.compute_loss_from_embeddings(list(drawn[:, :texts].unbind(1)), None)
    keys = torch.arange(1, 7 * texts + 1).view(7, texts)
    assert float(vectors.in_batch_loss(drawn[:, :texts], keys)) == pytest.approx(7 * float(theirs), rel=1e-12)


def test_a_right_answer_is_no_negative(drawn):
    """Copies of a row's second text, second texts of an equal first one, and absent third texts do not count."""
    keys = torch.arange(1, 22).view(7, 3)
    keys[3, 1] = keys[0, 1]
    keys[5, 0] = keys[1, 0]
    keys[2, 2] = 0
    unit = torch.nn.functional.normalize(drawn, dim=-1)
    expected = 0.0
    for i in range(7):
        candidates = [(j, 1) for j in range(7)] + [(j, 2) for j in range(7) if j != 2]
        hidden = {(0, 3): 1, (3, 0): 1, (1, 5): 1, (5, 1): 1}
        kept = [(j, k) for j, k in candidates if not (k == 1 and hidden.get((i, j)))]
        scores = torch.stack([20 * unit[i, 0] @ unit[j, k] for j, k in kept])
        expected += float(scores.logsumexp(0) - scores[kept.index((i, 1))])
    assert float(vectors.in_batch_loss(drawn, keys)) == pytest.approx(expected, rel=1e-12)


# ---- training ----


@pytest.mark.parametrize("rows", [ROWS, TRIPLETS], ids=["scores", "triplets"])
def test_the_gradient_does_not_depend_on_the_memory(recipe_of, rows, monkeypatch):
    """A batch of 12 rows in 1, 2 or 4 passes, or in passes of few tokens: one gradient, and the same losses.

    In the float32 of the loop; `test_one_gradient_in_float64` has ten digits.
    """
    gradients = []

    def remember(optimizer, parameters, most, **how):
        gradients.append(torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]))
        return clip_gradient(optimizer, parameters, most, **how)

    monkeypatch.setattr("tunesmith.training.loop.clip_gradient", remember)
    losses = []
    for parts, tokens in ((1, "auto"), (2, "auto"), (4, "auto"), (1, 40)):
        cut = {"per_device_train_batch_size": 12 // parts, "gradient_accumulation_steps": parts}
        how = {"max_steps": 2, "logging_steps": 1, "tokens_per_micro_batch": tokens}
        run = pipeline.train(recipe_of(rows, f"{parts}-{tokens}", **how, **cut))
        losses.append([event["loss"] for event in run.events() if event["kind"] == "step"])
    first = gradients[::2]  # later ones are those of weights that differ by rounding
    for found in first[1:]:
        assert float((found - first[0]).norm() / first[0].norm()) < 1e-5
    for found in losses[1:]:
        assert found == pytest.approx(losses[0], rel=1e-6)


@pytest.mark.parametrize("rows", [LABELLED, PAIRS, TRIPLETS], ids=["labels", "pairs", "triplets"])
def test_one_gradient_in_float64(recipe_of, rows):
    """However a batch is cut into passes; the contract tests it for pairs with scores."""
    bench = Bench(recipe_of(rows))
    encoded = bench.encode(range(12))
    whole, gradient = bench.loss_and_gradient(encoded)
    for parts in (1, 2, 4):
        loss, found = bench.loss_and_gradient_over_rows(encoded, np.array_split(np.arange(12), parts))
        assert loss == pytest.approx(whole, rel=1e-10)
        assert np.abs(found - gradient).max() <= 1e-10 * np.abs(gradient).max()


def test_a_stopped_training_resumes_to_the_same_bits(recipe_of):
    how = {"gradient_accumulation_steps": 2, "save_steps": 2, "eval_steps": 3}
    whole = pipeline.train(recipe_of(TRIPLETS, "whole", **how))
    recipe = recipe_of(TRIPLETS, "stopped", **how)
    with pytest.raises(KeyboardInterrupt):
        pipeline.train(recipe, listeners=[at_step(5, raising(KeyboardInterrupt))])
    again = pipeline.train(recipe)
    files = [(run.model / "model.safetensors").read_bytes() for run in (whole, again)]
    assert files[0] == files[1]
    assert whole.metrics["splits"] == again.metrics["splits"]


def test_what_has_no_effect_is_refused(recipe_of):
    for option in ({"method": "probe"}, {"pooling": "mean"}, {"r_drop_alpha": 1.0}):
        with pytest.raises(RecipeError):
            pipeline.train(recipe_of(ROWS, **option))


# ---- scores ----


@pytest.fixture(scope="module")
def trained(model, tmp_path_factory):
    """A finished run of each kind of rows."""
    folder, made = tmp_path_factory.mktemp("runs"), {}
    kinds = {"scores": ROWS, "labels": LABELLED, "triplets": TRIPLETS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNESMITH_CACHE", str(folder / "cache"))
        for kind, rows in kinds.items():
            parts = {"train": rows[:40], "validation": rows[40:56], "test": rows[56:]}
            files = {p: [str(write_rows(folder / f"{kind}-{p}.jsonl", some))] for p, some in parts.items()}
            recipe = Recipe.model_validate({
                "task": "text-similarity", "model": str(model), "output_dir": str(folder / kind), "data": files,
                "train": {"max_steps": 6, "learning_rate": 2e-3, "per_device_train_batch_size": 12},
                "evaluate": {"bootstrap_samples": 100},
            })  # fmt: skip
            made[kind] = pipeline.train(recipe)
    return made


@pytest.fixture(scope="module")
def opened(trained):
    """Each run as sentence-transformers opens it."""
    from sentence_transformers import SentenceTransformer

    return {kind: SentenceTransformer(str(run.model), device="cpu") for kind, run in trained.items()}


def lines_of(run):
    with (run.predictions / "test.jsonl").open(encoding="utf-8") as handle:
        return [json.loads(line) for line in handle]


def test_correlations_are_those_of_scipy(trained):
    from scipy.stats import pearsonr, spearmanr

    run = trained["scores"]
    lines, scores = lines_of(run), run.metrics["splits"]["test"]
    gold, cosines = [line["gold"] for line in lines], [line["prediction"]["score"] for line in lines]
    assert scores["spearman"]["value"] == pytest.approx(spearmanr(gold, cosines).statistic, abs=1e-6)
    assert scores["pearson"]["value"] == pytest.approx(pearsonr(gold, cosines).statistic, abs=1e-6)
    assert run.metrics["primary"]["name"] == "spearman"
    assert {"base_model", "tfidf_cosine"} == run.metrics["baselines"].keys()


def test_labels_are_scored_as_scikit_learn_does(trained, opened):
    from sentence_transformers.sentence_transformer.evaluation import BinaryClassificationEvaluator
    from sklearn.metrics import accuracy_score, average_precision_score

    run = trained["labels"]
    lines, scores = lines_of(run), run.metrics["splits"]["test"]
    gold, cosines = [line["gold"] for line in lines], [line["prediction"]["score"] for line in lines]
    assert scores["average_precision"]["value"] == pytest.approx(average_precision_score(gold, cosines))
    similar = [line["prediction"]["similar"] for line in lines]
    assert scores["accuracy"]["value"] == pytest.approx(accuracy_score(gold, similar))
    threshold = run.manifest()["label_schema"]["threshold"]
    assert similar == [cosine >= threshold for cosine in cosines]
    texts = [[line[name] for line in lines] for name in ("text", "text_pair")]
    theirs = BinaryClassificationEvaluator(*texts, [int(value) for value in gold])(opened["labels"])
    assert scores["average_precision"]["value"] == pytest.approx(theirs["cosine_ap"], abs=1e-6)
    answer = tunesmith.predict(run.path, {"text": "the red cat", "text_pair": "a red cat"})
    assert answer == {"score": answer["score"], "similar": answer["score"] >= threshold}


def test_retrieval_is_that_of_sentence_transformers(trained, opened):
    from sentence_transformers.sentence_transformer.evaluation import (
        InformationRetrievalEvaluator,
        TripletEvaluator,
    )

    run = trained["triplets"]
    rows = [{name: row[name] for name in row} for row in TRIPLETS[56:]]
    texts = [row["positive"] for row in rows] + [row["negative"] for row in rows if row["negative"]]
    corpus = {text: text for text in texts}
    queries = {row["anchor"]: row["anchor"] for row in rows}
    right = {row["anchor"]: {row["positive"]} for row in rows}
    evaluator = InformationRetrievalEvaluator(
        queries,
        corpus,
        right,
        mrr_at_k=[10],
        ndcg_at_k=[10],
        precision_recall_at_k=[1, 10],
        accuracy_at_k=[1],
    )
    theirs, scores = evaluator(opened["triplets"]), run.metrics["splits"]["test"]
    for ours, name in (("ndcg_at_10", "ndcg@10"), ("mrr_at_10", "mrr@10"), ("recall_at_1", "recall@1"),
                       ("recall_at_10", "recall@10")):  # fmt: skip
        assert scores[ours]["value"] == pytest.approx(theirs[f"cosine_{name}"], abs=1e-6), ours
    with_third = [row for row in rows if row["negative"]]
    triplets = TripletEvaluator(*([row[n] for row in with_third] for n in ("anchor", "positive", "negative")))
    assert scores["triplet_accuracy"]["value"] == pytest.approx(
        triplets(opened["triplets"])["cosine_accuracy"]
    )
    assert run.metrics["primary"]["name"] == "ndcg_at_10"
    for line in lines_of(run):
        assert line["correct"] is (line["prediction"]["found"] == line["gold"])


def test_a_perfect_model_has_perfect_scores(model):
    """Vectors that are equal for a row's texts, and orthogonal to all others."""
    columns = {"text": ["cat", "dog", "cow"], "text_pair": ["kitten", "puppy", "calf"]}
    encoded = TASK.encode(columns, tokenizer_of(model), EncodeOptions(None, "score"), {"kind": "pairs"})
    outputs = np.repeat(np.eye(3, dtype=np.float32)[:, None], 2, axis=1)
    scores = point_scores(
        TASK, EvalPredictions(columns, encoded, outputs), {"kind": "pairs", "has_negatives": False}
    )
    assert set(scores.values()) == {1.0}


# ---- the folder ----


def test_sentence_transformers_opens_it_with_the_same_vectors(trained, opened):
    texts = ["the red cat", "a very old dog is near the big blue horse and not here", "there"]
    for kind, run in trained.items():
        ours = tunesmith.load(run.path).embed(texts)
        theirs = opened[kind].encode(texts)
        assert np.abs(ours - theirs).max() < 1e-5
        pair = tunesmith.predict(run.path, {"text": texts[0], "text_pair": texts[1]})
        similarity = float(opened[kind].similarity(theirs[:1], theirs[1:2]))
        assert pair["score"] == pytest.approx(similarity, abs=1e-5)
        assert opened[kind].max_seq_length == tunesmith.load(run.path).max_length


def test_the_pooling_of_the_base_model_is_kept(model, recipe_of, tmp_path):
    """A base that pools the first token and scales to length 1 ends as such a model."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    modules = [Transformer(str(model)), Pooling(32, "cls"), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path / "base"))
    assert vectors_of_folder(tmp_path / "base") == {"pooling": "cls", "normalize": True}
    texts = ["the red cat", "a big old dog"]
    base = SentenceTransformer(str(tmp_path / "base"), device="cpu")
    assert np.abs(tunesmith.embed(tmp_path / "base", texts) - base.encode(texts)).max() < 1e-5
    run = pipeline.train(recipe_of(ROWS, base=tmp_path / "base"))
    assert vectors_of_folder(run.model) == {"pooling": "cls", "normalize": True}
    tuned = SentenceTransformer(str(run.model), device="cpu")
    assert np.abs(tunesmith.embed(run.path, texts) - tuned.encode(texts)).max() < 1e-5


@pytest.mark.parametrize("family", ["distilbert", "mpnet", "modernbert", "xlm-roberta", "electra", "qwen3"])
def test_other_families_end_as_models_of_sentence_transformers(recipe_of, tmp_path, family):
    from sentence_transformers import SentenceTransformer

    base = write_family(tmp_path / "base", family)
    run = pipeline.train(recipe_of(ROWS, base=base, max_steps=2))
    texts = ["the red cat", "a very old dog is near the big blue horse and not here", "there"]
    theirs = SentenceTransformer(str(run.model), device="cpu").encode(texts)
    assert np.abs(tunesmith.embed(run.path, texts) - theirs).max() < 1e-5


def test_a_sentence_model_reads_as_much_as_its_files_say_and_more_only_for_longer_training_texts(
    recipe_of, model, tmp_path
):
    base = shutil.copytree(model, tmp_path / "base")
    (base / "sentence_bert_config.json").write_text('{"max_seq_length": 24}')
    run = pipeline.train(recipe_of(ROWS, base=base, max_steps=2))
    assert run.recipe().data.max_length == 24
    longer = {**ROWS[0], "text": " ".join(["cat"] * 40)}
    run = pipeline.train(recipe_of([longer, *ROWS[1:]], name="longer", base=base, max_steps=2))
    assert 40 <= run.recipe().data.max_length < 64


def test_a_model_that_mixes_padding_in_is_refused(recipe_of, tmp_path):
    with pytest.raises(ModelError, match="its vector would depend on the texts beside it"):
        pipeline.train(recipe_of(ROWS, base=write_family(tmp_path / "base", "fnet")))


def test_what_would_give_other_vectors_is_refused(model, tmp_path):
    modules = [{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
               {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]  # fmt: skip
    dense = {"idx": 2, "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    (tmp_path / "1_Pooling").mkdir()
    pooling, settings = tmp_path / "1_Pooling" / "config.json", tmp_path / "config_sentence_transformers.json"
    (tmp_path / "modules.json").write_text(json.dumps([*modules, dense]))
    with pytest.raises(ModelError, match="Transformer, Pooling, Dense"):
        vectors_of_folder(tmp_path)
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    for content in ({"pooling_mode_max_tokens": True}, {"pooling_mode": ["cls", "mean"]}, {}):
        pooling.write_text(json.dumps(content))
        with pytest.raises(ModelError, match="pools by"):
            vectors_of_folder(tmp_path)
    settings.write_text(json.dumps({"default_prompt_name": "query"}))
    with pytest.raises(ModelError, match="puts a prompt before every text"):
        vectors_of_folder(tmp_path)
    assert vectors_of_folder(resolve_model(str(model)).path) == {"pooling": "mean", "normalize": False}


def test_a_model_with_a_decoder_is_refused(recipe_of, tmp_path):
    bart = write_tiny_model(tmp_path / "bart", family="bart")
    with pytest.raises(ModelError, match="an encoder and a decoder"):
        pipeline.train(recipe_of(ROWS, base=bart))


def test_an_adapter_learns_and_merges(recipe_of, tmp_path):
    run = pipeline.train(recipe_of(ROWS, method="lora", learning_rate=1e-2))
    before, after = (tunesmith.embed(name, ["the red cat"]) for name in (run.recipe().model, run.path))
    assert np.abs(before - after).max() > 1e-4
    tunesmith.export(run.path, "merged", output_dir=tmp_path / "merged")
    from sentence_transformers import SentenceTransformer

    merged = SentenceTransformer(str(tmp_path / "merged"), device="cpu").encode(["the red cat"])
    assert np.abs(merged - after).max() < 1e-5


def test_the_report_shows_pairs_on_two_lines(trained):
    page = trained["scores"].report_file.read_text(encoding="utf-8")
    line = max(lines_of(trained["scores"]), key=lambda line: line["prediction"]["rank_gap"])
    assert f"{line['text']}\n{line['text_pair']}" in page
    assert "their order counts" in page
    card = (trained["scores"].model / "README.md").read_text(encoding="utf-8")
    assert "pipeline_tag: sentence-similarity" in card
    assert "from sentence_transformers import SentenceTransformer" in card


def test_a_long_second_text_is_cut_and_the_answer_says_so(trained):
    predictor = tunesmith.load(trained["scores"].path)
    answer = predictor({"text": "the cat", "text_pair": "the old cat is near " * 60})
    assert answer["truncated"] is True


def test_a_single_text_is_no_pair(trained):
    with pytest.raises(RowError, match="give a row with text, text_pair"):
        tunesmith.predict(trained["scores"].path, "the cat")
    assert isinstance(Run.open(trained["scores"].path), Run)
