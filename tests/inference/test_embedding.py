"""Vectors of texts: of runs, of models, of files; each checked against what makes them elsewhere."""

import json

import numpy as np
import pytest
import torch

import tunesmith as ts
from tunesmith.errors import DataError, ModelError, RecipeError
from tunesmith.inference import embedding
from tunesmith.tasks import RowError
from tunesmith.testing.tiny import tiny_rows, write_rows

TEXTS = ["the red cat is here", "a dog", "the old crow is near a small goat and not here"]


@pytest.fixture
def predictor(finished_run):
    return ts.load(finished_run.path)


def test_a_classifier_gives_what_its_head_sees(predictor, finished_run):
    """The head's weights times the vectors are the logits of plain transformers."""
    from transformers import AutoModelForSequenceClassification

    vectors = predictor.embed(TEXTS)
    stock = AutoModelForSequenceClassification.from_pretrained(finished_run.model).eval()
    ids = predictor.tokenizer(TEXTS, padding=True, return_tensors="pt")
    head = [m for m in stock.modules() if isinstance(m, torch.nn.Linear)][-1]
    with torch.no_grad():
        expected = stock(**ids).logits
        found = torch.from_numpy(vectors) @ head.weight.T + head.bias
    assert torch.allclose(found, expected, atol=1e-3)
    assert vectors.dtype == np.float32
    assert predictor.embed(TEXTS[0]) == pytest.approx(vectors[0], abs=1e-6)
    assert predictor(TEXTS[0])["label"], "the head works as before"


def test_a_model_is_read_as_sentence_transformers_reads_it(tiny_model):
    """Without files of its own, the mean over the tokens."""
    from sentence_transformers import SentenceTransformer

    ours = ts.embed(tiny_model, TEXTS)
    theirs = SentenceTransformer(str(tiny_model), device="cpu").encode(TEXTS)
    assert np.abs(ours - theirs).max() < 1e-5
    assert not np.allclose(np.linalg.norm(ours, axis=1), 1.0)
    unit = ts.embed(tiny_model, TEXTS, normalize=True)
    assert np.linalg.norm(unit, axis=1) == pytest.approx(np.ones(3), abs=1e-6)


def test_the_default_model_gives_its_own_vectors():
    """Its folder says: the mean, scaled to length 1, of at most 256 tokens."""
    from sentence_transformers import SentenceTransformer

    from tunesmith.models.resolve import resolve_model

    name = "sentence-transformers/all-MiniLM-L6-v2"
    texts = ["Where is my parcel?", "Wo ist mein Paket?", "a very long text " * 200]
    embedder = embedding.open_embedder(name)
    ours = embedder(texts)
    theirs = SentenceTransformer(str(resolve_model(name).path), device="cpu").encode(texts)
    assert np.abs(ours - theirs).max() < 1e-5
    assert embedder.truncated == 1


def test_order_is_kept_over_chunks(predictor, monkeypatch):
    texts = [row["text"] for row in tiny_rows(23, seed=4)]
    whole = predictor.embed(texts)
    monkeypatch.setattr(embedding, "CHUNK_ROWS", 7)
    assert predictor.embed(iter(texts)) == pytest.approx(whole, abs=1e-5)
    assert predictor.embed([]).shape == (0, whole.shape[1])


def test_what_is_no_text_is_refused(predictor):
    with pytest.raises(RowError):
        predictor.embed(["a cat", " "])
    with pytest.raises(RecipeError, match="no effect without `output`"):
        ts.embed("anywhere", TEXTS, text="body")


def test_rows_in_memory(finished_run, tmp_path):
    """A table gives what its texts give; a run embeds itself."""
    import pandas as pd

    table = pd.DataFrame({"text": TEXTS, "n": [1, 2, 3]})
    vectors = ts.embed(finished_run.path, TEXTS)
    assert ts.embed(finished_run.path, table) == pytest.approx(vectors, abs=1e-6)
    assert ts.embed(finished_run.path, table["text"]) == pytest.approx(vectors, abs=1e-6)
    facts = ts.embed(finished_run.path, table, output=tmp_path / "out.parquet")
    assert facts["rows"] == 3
    kept = pd.read_parquet(tmp_path / "out.parquet")
    assert kept["n"].tolist() == [1, 2, 3]
    assert np.stack(kept["vector"]) == pytest.approx(vectors, abs=1e-5)


def test_a_task_without_vectors_is_refused(predictor, monkeypatch):
    monkeypatch.setattr(type(predictor.task), "probe", None)
    with pytest.raises(ModelError, match="has no vector for a text"):
        predictor.embed(TEXTS)


@pytest.fixture
def data(tmp_path):
    """More rows than a chunk, with a number, a list and a gap beside the text."""
    rows = [
        {"text": row["text"], "n": i, "tags": ["a", "b"][: i % 3], "note": None if i % 2 else "x"}
        for i, row in enumerate(tiny_rows(12, seed=6))
    ]
    return write_rows(tmp_path / "in.jsonl", rows), rows


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "npy"])
def test_a_file_keeps_its_columns(tunesmith, finished_run, predictor, data, tmp_path, ending, monkeypatch):
    monkeypatch.setattr(embedding, "CHUNK_ROWS", 5)
    file, rows = data
    out = tmp_path / f"out.{ending}"
    done = tunesmith("embed", finished_run.path, "--data", file, "--output", out, "--json")
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    assert facts == {
        "output": str(out), "rows": 12, "dimensions": 32, "normalized": False, "truncated": 0,
        "columns": {"text": "text"},
    }  # fmt: skip
    expected = predictor.embed([row["text"] for row in rows])
    vectors, kept = read_back(out)
    assert vectors == pytest.approx(expected, abs=1e-5)
    assert kept in (rows, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", out.name]
    again = tunesmith("embed", finished_run.path, "--data", file, "--output", out)
    assert again.code == 2
    assert "already exists" in again.err
    forced = tunesmith("embed", finished_run.path, "--data", file, "--output", out, "--force", "--normalize")
    assert forced.code == 0
    assert "12 vectors of 32 numbers" in forced.out
    assert np.linalg.norm(read_back(out)[0], axis=1) == pytest.approx(np.ones(12), abs=1e-5)


def read_back(path):
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False), None
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        assert str(table.schema.field("vector").type) == "fixed_size_list<element: float>[32]"
        rows = table.to_pylist()
    else:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return np.array([row.pop("vector") for row in rows]), rows


def test_a_column_is_named_and_reported(tunesmith, tiny_model, tmp_path):
    file = write_rows(tmp_path / "in.csv", [{"title": "a cat", "body": text} for text in TEXTS])
    out = tmp_path / "out.npy"
    done = tunesmith("embed", tiny_model, "--data", file, "--column", "text=title", "--output", out)
    assert done.code == 0, done.err
    assert "text = `title`" in done.err
    assert len(np.unique(np.load(out), axis=0)) == 1


def test_a_row_without_a_text_is_named(tunesmith, tiny_model, tmp_path):
    file = write_rows(tmp_path / "in.csv", [{"text": "a cat", "n": 1}, {"text": " ", "n": 2}])
    done = tunesmith("embed", tiny_model, "--data", file, "--output", tmp_path / "out.npy")
    assert done.code == 2
    assert "in.csv, line 3" in done.err
    assert not (tmp_path / "out.npy").exists()


def test_another_ending_is_refused_before_any_work(tunesmith, tmp_path):
    done = tunesmith("embed", "nowhere", "--data", "nothing.csv", "--output", tmp_path / "out.txt")
    assert done.code == 2
    assert ".parquet, .npy, .jsonl" in done.err


def test_values_of_several_kinds_are_refused_in_parquet(tiny_model, tmp_path):
    rows = [{"text": "a cat", "n": 1}, {"text": "a dog", "n": "two"}]
    file = write_rows(tmp_path / "in.jsonl", rows)
    with pytest.raises(DataError, match="the column `n` cannot be stored"):
        ts.embed(tiny_model, str(file), output=tmp_path / "out.parquet")
    assert ts.embed(tiny_model, str(file), output=tmp_path / "out.jsonl")["rows"] == 2
    write_rows(tmp_path / "taken.jsonl", [{"text": "a cat", "vector": 1}])
    with pytest.raises(DataError, match="a column `vector` already"):
        ts.embed(tiny_model, tmp_path / "taken.jsonl", output=tmp_path / "out2.jsonl")
