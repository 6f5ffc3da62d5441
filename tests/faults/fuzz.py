"""Recipes, data files, configs and model folders that hypothesis makes, through the command line in this process.

    python tests/faults/fuzz.py [--examples 2000]

No command may end with an error that is not one of ours, end well with what it could not read, or write outside of
the folder that it was given. The exit code is 1 if one did; hypothesis prints the smallest example.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import os
import shutil
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tunesmith.recipe import recipe_keys
from tunesmith.testing.tiny import tiny_rows, write_rows, write_tiny_model

CODES = (0, 2, 3)
SEEN: Counter[str] = Counter()

_names = st.sampled_from([
    "task", "model", "output_dir", "seed", "data", "train", "evaluate", "tune", "generate", "train_file", "lr",
    "batch_size", "method", "columns", "validation", "test", "max_length", "learning_rate",
    "num_train_epochs", "space", "augment", "x",
])  # fmt: skip
_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12),
    st.sampled_from(["auto", "probe", "lora", "text-classification", "chat", "train.csv", "-", "hub:a/b", "../x"]),
)  # fmt: skip
_trees = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_names, inner, max_size=5)),
    max_leaves=20,
)
_KEYS = sorted(recipe_keys())


def _nearly_right(values: dict[str, Any]) -> bytes:
    """A recipe that can be read, but for some of its values."""
    tree: dict[str, Any] = {"data": {"train": ["train.csv"]}}
    for key, value in values.items():
        section, _, name = key.partition(".")
        if name:
            tree.setdefault(section, {})[name] = value
        elif section not in ("data", "model"):
            tree[section] = value
    return yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass")


_usual = st.one_of(
    st.integers(0, 100), st.floats(0, 1), st.booleans(), st.just("auto"), st.just([]), st.just({}), _trees
)
recipes = st.one_of(
    st.dictionaries(st.sampled_from(_KEYS), _usual, max_size=2).map(_nearly_right),
    st.dictionaries(_names, _trees, max_size=8).map(
        lambda tree: yaml.safe_dump(tree, allow_unicode=True).encode()
    ),
    st.binary(max_size=300),
    st.text(alphabet="{}[]:-&*!|>'\"#%@`\n\t ,abc019.", max_size=200).map(str.encode),
)

_cells = st.one_of(
    st.text(max_size=30), st.sampled_from(["animal", "colour", "", '"', "a,b", "\x00", "1e999", "nan"])
)
_rows = st.lists(st.lists(_cells, min_size=0, max_size=4), max_size=30)


def _as_csv(rows: list[list[str]]) -> bytes:
    body = "\n".join(",".join(cells) for cells in rows)
    return ("text,label\n" + body).encode("utf-8", "surrogatepass")


_json_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3)
)
_json_rows = st.lists(
    st.one_of(
        st.fixed_dictionaries({"text": _cells, "label": st.sampled_from(["a", "b"])}),
        st.dictionaries(
            st.sampled_from(["text", "label", "messages", "tokens", "tags", "z"]), _json_values, max_size=4
        ),
    ),
    max_size=25,
)
_FILES = [
    f"a.{kind}"
    for kind in ("csv", "json", "jsonl", "tsv", "conll", "parquet", "txt", "csv.gz", "zip", "xlsx")
]


def _packed(content: bytes, kind: str) -> tuple[str, bytes]:
    """A file that holds the content, in a packing, or as a column that repeats it."""
    if kind == "gz":
        return "rows.csv.gz", gzip.compress(content)
    if kind == "zip":
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("rows.csv", content)
        return "rows.zip", made.getvalue()
    made = io.BytesIO()
    text = content.decode("utf-8", "replace")
    column = pa.DictionaryArray.from_arrays(pa.array([0, 0, 0, 0], pa.int32()), pa.array([text]))
    table = pa.table({"text": column, "label": ["a", "b", "a", "b"]})
    if kind == "parquet":
        pq.write_table(table, made, compression="zstd")
    else:
        with pa.ipc.new_file(made, table.schema) as writer:
            writer.write_table(table)
    return f"rows.{kind}", made.getvalue()


def _flipped(file: tuple[str, bytes], at: int | None) -> tuple[str, bytes]:
    data = bytearray(file[1])
    if at is not None:
        data[at % len(data)] ^= 1 << at % 8
    return file[0], bytes(data)


_packed_files = st.builds(
    _flipped,
    st.builds(_packed, _rows.map(_as_csv), st.sampled_from(["gz", "zip", "parquet", "arrow"])),
    st.one_of(st.none(), st.integers(0, 10**6)),
)
data_files = st.one_of(
    _packed_files,
    st.tuples(st.just("rows.csv"), _rows.map(_as_csv)),
    st.tuples(st.just("rows.jsonl"), _json_rows.map(lambda rows: "\n".join(map(json.dumps, rows)).encode())),
    st.tuples(
        st.sampled_from(_FILES),
        st.binary(max_size=400),
    ),
)  # fmt: skip

_config_changes = st.dictionaries(
    st.sampled_from([
        "hidden_size", "num_hidden_layers", "vocab_size", "model_type", "architectures", "id2label", "label2id",
        "num_attention_heads", "auto_map", "intermediate_size", "max_position_embeddings", "pad_token_id", "dtype",
        "quantization_config", "hidden_act", "layer_norm_eps", "hidden_dropout_prob", "torch_dtype",
    ]),
    _json_values, min_size=1, max_size=3,
)  # fmt: skip
_patterns = st.one_of(
    st.sampled_from(
        ["(a+)+$", r"\s+", r"\p{L}+", "(", "[^a]*", r"(?i:'s|'t)|\s*\w+", "a{1,1000}{1,1000}", ""]
    ),
    st.text(alphabet="ab()+*?.|[]{}0,1\\^$", max_size=20),
)
_tokenizer_parts = st.one_of(
    st.builds(
        lambda pattern, kind: {
            "type": "Split",
            "pattern": {kind: pattern},
            "behavior": "Isolated",
            "invert": False,
        },
        _patterns,
        st.sampled_from(["Regex", "String"]),
    ),
    st.builds(
        lambda pattern, content: {"type": "Replace", "pattern": {"Regex": pattern}, "content": content},
        _patterns,
        st.one_of(st.text(max_size=5), st.just("a b " * 10_000)),
    ),
    _json_values,
)
_tokenizer_changes = st.dictionaries(
    st.sampled_from(
        ["normalizer", "pre_tokenizer", "post_processor", "padding", "truncation", "added_tokens", "model"]
    ),
    _tokenizer_parts,
    min_size=1,
    max_size=2,
)
model_damages = st.one_of(
    st.tuples(st.just("tokenizer.json"), _tokenizer_changes),
    st.tuples(st.just("config.json"), _config_changes),
    st.tuples(
        st.sampled_from(["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]),
        st.one_of(st.binary(max_size=100), st.integers(0, 10**6), st.none()),
    ),
    st.tuples(
        st.just("tokenizer_config.json"),
        st.dictionaries(
            st.sampled_from(["tokenizer_class", "model_max_length", "pad_token", "unk_token", "auto_map"]),
            _json_values, min_size=1, max_size=2,
        ),
    ),
)  # fmt: skip


class Bench:
    """A folder for examples, and what must be there after each."""

    def __init__(self, base: Path) -> None:
        self.base = base.resolve()
        self.model = write_tiny_model(self.base / "model")
        self.rows = write_rows(self.base / "rows.csv", tiny_rows(60))
        self.work = self.base / "work"
        self.kept = self._outside()

    def _outside(self) -> set[str]:
        return {str(p) for p in self.base.rglob("*") if self.work not in (p, *p.parents)}

    @contextlib.contextmanager
    def example(self) -> Iterator[Path]:
        """An empty working folder; nothing may appear beside it."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        here = Path.cwd()
        os.chdir(self.work)
        os.environ["TUNESMITH_CACHE"] = str(self.work / "cache")
        try:
            yield self.work
        finally:
            os.chdir(here)
        assert self._outside() == self.kept, f"written outside: {self._outside() ^ self.kept}"

    def command(self, *arguments: str) -> tuple[int, str, str]:
        """A command of the line in this process: exit code, output and errors."""
        from tunesmith.cli.main import main

        out, err, before = io.StringIO(), io.StringIO(), sys.argv
        sys.argv = ["tunesmith", *arguments]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
        finally:
            sys.argv = before
        return code, out.getvalue(), err.getvalue()

    def judge(self, kind: str, code: int, err: str) -> None:
        """Fails unless a command ended well, or with a message of ours."""
        assert code in CODES, f"exit {code}: {err[-500:]}"
        assert "Traceback" not in err, err[-1500:]
        if code == 2:
            assert "error: " in err, err[-500:]
        SEEN[f"{kind}: exit {code}"] += 1

    def recipe(self, content: bytes) -> None:
        """A recipe file, read and checked against data that are there or not."""
        with self.example() as work:
            (work / "recipe.yaml").write_bytes(content)
            shutil.copyfile(self.rows, work / "train.csv")
            code, _, err = self.command("check", "recipe.yaml", "--fast")
            self.judge("recipe", code, err)

    def data(self, name: str, content: bytes) -> None:
        """A data file, checked; what is read without an error has as many rows as it says."""
        with self.example() as work:
            (work / name).write_bytes(content)
            code, out, err = self.command("check", name, "--fast", "--task", "text-classification", "--json")
            self.judge("data", code, err)
            if code in (0, 3) and out.strip():
                found = json.loads(out)["splits"]
                assert sum(found.values()) > 0, "nothing was read, and nothing was said"

    def folder(self, file: str, change: Any) -> None:
        """A damaged model folder, opened for a training."""
        with self.example() as work:
            shutil.copytree(self.model, work / "model")
            _change(work / "model" / file, change)
            code, _, err = self.command(
                "train", str(self.rows), "--model", "model", "--method", "probe", "-o", "run",
                "evaluate.baselines=false", "data.check=off",
            )  # fmt: skip
            self.judge("model", code, err)
            if code == 0:
                metrics = json.loads((work / "run" / "metrics.json").read_text())
                assert 0 <= metrics["primary"]["value"] <= 1


def _change(path: Path, change: Any) -> None:
    if isinstance(change, dict):
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    elif isinstance(change, bytes):
        path.write_bytes(change)
    elif change is None:
        path.unlink()
    else:
        data = bytearray(path.read_bytes())
        data[change % len(data)] ^= 1 << change % 8
        path.write_bytes(data)


def laws(bench: Bench, examples: int) -> dict[str, Callable[[], None]]:
    """By name, a test that hypothesis runs; a model folder costs as much as ten recipes."""
    shares = {"recipe": 0.5, "data": 0.35, "model": 0.15}

    def how(kind: str) -> settings:
        return settings(
            max_examples=max(int(examples * shares[kind]), 1), deadline=None, database=None, derandomize=True,
            suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink],
        )  # fmt: skip

    recipe_law = how("recipe")(given(recipes)(bench.recipe))
    data_law = how("data")(given(data_files)(lambda found: bench.data(*found)))
    model_law = how("model")(given(model_damages)(lambda found: bench.folder(*found)))
    return {"recipe": recipe_law, "data": data_law, "model": model_law}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--only")
    wanted = parser.parse_args()
    failed = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as base:
        for name, law in laws(Bench(Path(base)), wanted.examples).items():
            if wanted.only in (None, name):
                try:
                    law()
                except BaseException as error:
                    failed.append(name)
                    print(f"{name}: {type(error).__name__}: {str(error)[-3000:]}", flush=True)
                    notes = getattr(error, "__notes__", [])
                    print("\n".join(notes)[-2000:], flush=True)
    for what, n in sorted(SEEN.items()):
        print(f"{n:6} {what}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
