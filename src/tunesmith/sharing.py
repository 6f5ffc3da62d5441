"""`push` and `pull`: a run on the Hub, with its model card, and back.

    files of the run → facts without paths → look for what must not leave → one commit

What is uploaded is the folder `model` of a run, or an export, with an `export.json`: so what `pull` gets is used
like a run. Data, secrets and paths of this machine are refused. Nothing is downloaded that could run as code.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith._telemetry import import_huggingface_hub
from tunesmith.data.personal import find_personal
from tunesmith.environment import versions
from tunesmith.errors import ModelError, RecipeError, RunError, UserError, first_line
from tunesmith.inference.exported import EXPORT_FILE, facts_of, is_export
from tunesmith.inference.predictor import Predictor
from tunesmith.masking import masked_text
from tunesmith.models.plain_tokenizer import facts_of_tokenizer
from tunesmith.process import is_offline
from tunesmith.run import Run, read_json, sha256_of, write_json
from tunesmith.run.files import published_as

if TYPE_CHECKING:
    from tunesmith.types import JsonObject

CARD = "README.md"
_ENDINGS = (
    ".safetensors", ".onnx", ".json", ".md", ".txt", ".model", ".jinja", ".data", ".weights",
)  # fmt: skip
"""Of files that are uploaded and downloaded: weights, graphs, configs, tokenizers, the card; no data, no code."""
_TEXTS = (".json", ".md", ".txt", ".jinja")
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt", "added_tokens.json")
"""Files whose words may look like paths or keys."""
_PATHS = re.compile(
    r"(?<![\w.:/~-])(?:/(?:home|root|Users|mnt|media|tmp|var|srv|opt|data|private|scratch|content|workspace|Volumes)/"
    r"[^\s\"'`<>)]+|[A-Za-z]:\\{1,2}[^\s\"'`<>)]+)"
)
_PLACEHOLDER = "PATH/TO/THIS/FOLDER"
_LOGIN = "Log in with `hf auth login`, or set HF_TOKEN to a token that may write there."


@dataclass(frozen=True)
class Upload:
    """What `push` uploads, or would.

    Args:
        repo: name on the Hub.
        files: content of each file: a path, or a text that is made for the Hub.
        card: the model card.
        url: address of the commit; empty for a dry run.
    """

    repo: str
    files: Mapping[str, Path | str]
    card: str
    url: str = ""

    def sizes(self) -> dict[str, int]:
        """Bytes of each file."""
        return {
            name: content.stat().st_size if isinstance(content, Path) else len(content.encode())
            for name, content in self.files.items()
        }

    def to_json(self) -> JsonObject:
        """What `push --json` prints."""
        return {"repo": self.repo, "url": self.url, "files": self.sizes(), "card": self.card}


def push(
    path: str | Path,
    repo: str,
    *,
    private: bool = False,
    dry_run: bool = False,
    license: str = "",
    force: bool = False,
) -> Upload:
    """Uploads a finished run, or an export, to the Hub.

    Args:
        path: folder of the run or of the export.
        repo: name on the Hub, `USER/NAME`.
        private: whether a new repository is private.
        dry_run: make and check everything, and upload nothing.
        license: licence of the model, as the Hub names it; by default that of the base model.
        force: add a commit to a repository that has files.

    Raises:
        UserError: there is no such run, something must not leave this machine, or the Hub refuses.
    """
    _refuse_name(repo)
    files, own_paths = _collect(Path(path), repo, license)
    upload = Upload(repo, files, str(files[CARD]))
    _refuse_private(upload.files, own_paths)
    if dry_run:
        return upload
    if is_offline():
        raise RecipeError(
            "push needs the Hub, and HF_HUB_OFFLINE forbids the network.",
            remedy="Unset it, or use `--dry-run` to see what would be uploaded.",
        )
    return Upload(repo, files, upload.card, _commit(upload, private=private, force=force))


def pull(
    repo: str, output_dir: str | Path | None = None, *, revision: str | None = None, force: bool = False
) -> JsonObject:
    """Downloads what `push` has uploaded; the folder is used like a run.

    Args:
        repo: name on the Hub, `USER/NAME`.
        output_dir: folder to write; None writes `runs/NAME`.
        revision: branch, tag or commit.
        force: replace an earlier folder of `pull`.

    Returns:
        The content of `export.json`, and `path`.

    Raises:
        UserError: the Hub has no such model, it was not pushed by tunesmith, or a file is damaged.
    """
    _refuse_name(repo)
    target = Path(output_dir) if output_dir else Path("runs") / repo.rpartition("/")[2]
    if target.exists() and any(target.iterdir()) and not (force and is_export(target)):
        raise RunError(
            f"`{target}` already exists.",
            remedy="Choose another `--output-dir`"
            + (", or give `--force`." if is_export(target) else "; it is not an earlier pull."),
        )
    if is_offline():
        raise RecipeError("pull needs the Hub, and HF_HUB_OFFLINE forbids the network.", remedy="Unset it.")
    with published_as(target) as folder:
        _download(repo, revision, folder)
        shutil.rmtree(folder / ".cache", ignore_errors=True)
        facts = _checked(folder, repo)
    return {"path": str(target), **facts}


def _refuse_name(repo: str) -> None:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise RecipeError(f"a name on the Hub is `USER/NAME`, got `{repo}`.", remedy="Give it in this form.")


def _collect(path: Path, repo: str, license_name: str) -> tuple[dict[str, Path | str], list[str]]:
    """The files of the upload, and the paths of this machine that must not be in them."""
    folder = path if is_export(path) else Run.open(path).model
    files: dict[str, Path | str] = {
        file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()
    }
    _refuse_other_files(files)
    files[CARD] = _card(path, folder, repo, license_name)
    facts = {key: value for key, value in _facts(path).items() if key != "source"}
    named = {name: _sum(content) for name, content in files.items() if name != EXPORT_FILE}
    files[EXPORT_FILE] = json.dumps({**facts, "files": named}, indent=2, ensure_ascii=False) + "\n"
    own = {str(Path.home()), str(path.resolve().parent), str(Path.cwd())} - {"/"}
    return files, sorted(own, key=len, reverse=True)


def _facts(path: Path) -> JsonObject:
    """What `export.json` says of an export; the same of a run, which has no such file."""
    if is_export(path):
        return facts_of(path)
    predictor, used = Predictor.from_run(path), Run.open(path).recipe()
    return {
        "format": "run",
        "runtime": "transformers",
        "task": predictor.task.name,
        "overlap_tokens": predictor.overlap,
        "train_on": predictor.how.train_on,
        "too_long": predictor.how.too_long,
        "acceleration": used.train.acceleration,
        "read_as": list(predictor.columns),
        "tokenizer": facts_of_tokenizer(predictor.tokenizer),
        "versions": versions(),
    }


def _card(path: Path, folder: Path, repo: str, license_name: str) -> str:
    """The model card, with the name on the Hub in its code."""
    file = folder / CARD
    if not file.is_file() and is_export(path):  # a graph has no card of its own
        file = Path(facts_of(path).get("source", {}).get("run", "")) / "model" / CARD
    if not file.is_file():
        raise ModelError(
            f"`{folder}` has no model card, and its run is not there.",
            remedy=f"Push the run, or write `{folder / CARD}`.",
        )
    text = file.read_text(encoding="utf-8").replace(_PLACEHOLDER, repo)
    if not license_name:
        return text
    card = import_huggingface_hub().ModelCard(text, ignore_metadata_errors=False)
    card.data.license = license_name
    card.data.license_name = card.data.license_link = None
    return str(card)


def _sum(content: Path | str) -> str:
    import hashlib

    return sha256_of(content) if isinstance(content, Path) else hashlib.sha256(content.encode()).hexdigest()


def _refuse_other_files(files: Mapping[str, Path | str]) -> None:
    others = [name for name in files if not name.endswith(_ENDINGS)]
    if others:
        raise RunError(
            f"only weights, graphs, configs, tokenizers and the card are uploaded, and `{others[0]}` is none.",
            remedy="Take it out of the folder. Data stay where they are.",
        )


def _refuse_private(files: Mapping[str, Path | str], own_paths: Sequence[str]) -> None:
    """Raises RunError for a path of this machine or a secret in a file; the secret is not repeated."""
    for name, content in files.items():
        for what, shown, line in _private(name, content, own_paths):
            raise RunError(
                f"`{name}` has {what}, which must not leave this machine: {shown}.",
                remedy="Take it out of the file, or train and export again where it does not occur.",
                location=f"{name}, line {line}" if line else name,
            )


def _private(name: str, content: Path | str, own_paths: Sequence[str]) -> Iterator[tuple[str, str, int]]:
    """What a file has that is private, as it can be shown, and its line; 0 in a binary file."""
    if not name.endswith(_TEXTS):
        assert isinstance(content, Path)
        if path := _in_binary(content, own_paths):
            yield "a path", f"`{path}`", 0
        return
    text = content if isinstance(content, str) else content.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        yield from (("a path", f"`{path}`", number) for path in own_paths if _names(path).search(line))
        if name in _VOCABULARIES:
            continue
        if any(it.kind == "secret" for it in find_personal(line)):
            yield "a key or a token", "it is not shown here", number
        if masked_text(line) != line:
            yield "a password in a URL", "it is not shown here", number
        if found := _PATHS.search(line):
            yield "a path", f"`{found[0]}`", number


def _in_binary(file: Path, own_paths: Sequence[str]) -> str:
    """The first path that stands in a binary file; empty without any."""
    import mmap

    if not file.stat().st_size:
        return ""
    with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return next((path for path in own_paths if content.find(f"{path}/".encode()) >= 0), "")


def _names(path: str) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(path)}(?![\w.-])")


def _commit(upload: Upload, *, private: bool, force: bool) -> str:
    """Makes the repository, and adds all files in one commit; its address."""
    hub = import_huggingface_hub()
    api = hub.HfApi()
    with _explained(upload.repo):
        api.create_repo(upload.repo, private=private or None, exist_ok=True)
        there = [name for name in api.list_repo_files(upload.repo) if name != ".gitattributes"]
        if there and not force:
            raise RunError(
                f"`{upload.repo}` already has {len(there)} files on the Hub.",
                remedy="Choose another name, or give `--force` for a new commit; the Hub keeps the old one.",
            )
        added = [
            hub.CommitOperationAdd(name, content if isinstance(content, Path) else content.encode())
            for name, content in upload.files.items()
        ]
        gone = [hub.CommitOperationDelete(name) for name in there if name not in upload.files]
        made = api.create_commit(
            upload.repo, [*added, *gone], commit_message="Add the model of a tunesmith run"
        )
    return str(made.commit_url)


def _download(repo: str, revision: str | None, folder: Path) -> None:
    wanted = [f"*{ending}" for ending in _ENDINGS]
    with _explained(repo):
        import_huggingface_hub().snapshot_download(
            repo, revision=revision, local_dir=folder, allow_patterns=wanted
        )


def _checked(folder: Path, repo: str) -> JsonObject:
    """The facts of what was downloaded, whose files are those that were pushed."""
    if not is_export(folder):
        raise ModelError(
            f"`{repo}` was not pushed by tunesmith: it has no `{EXPORT_FILE}`.",
            remedy=f"A base model needs no pull: `model: {repo}` in a recipe loads it.",
        )
    facts = read_json(folder / EXPORT_FILE)
    pushed, there = (
        facts.get("files", {}),
        {it.relative_to(folder).as_posix() for it in folder.rglob("*") if it.is_file()},
    )
    if added := sorted(there - pushed.keys() - {EXPORT_FILE}):
        raise ModelError(
            f"`{added[0]}` of `{repo}` was not pushed with the model.",
            remedy="Somebody has changed the repository; `--revision` names a commit before.",
        )
    for name, expected in pushed.items():
        if not (folder / name).is_file() or sha256_of(folder / name) != expected:
            raise ModelError(
                f"`{name}` of `{repo}` is missing or not the file that was pushed.",
                remedy="Pull again; if it stays, somebody has changed the repository.",
            )
    write_json(folder / EXPORT_FILE, {**facts, "source": {"hub": repo}})
    return facts


@contextmanager
def _explained(repo: str) -> Iterator[None]:
    """A context in which what the Hub says becomes an error with a remedy."""
    import_huggingface_hub()
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, RepositoryNotFoundError

    try:
        yield
    except RepositoryNotFoundError:
        raise ModelError(f"the Hub has no `{repo}`, or does not show it to you.", remedy=_LOGIN) from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in (401, 403):
            raise UserError(f"the Hub refuses `{repo}` (HTTP {status}).", remedy=_LOGIN) from None
        raise UserError(
            f"the Hub has refused `{repo}`: {first_line(error)}", remedy="Try again later."
        ) from None
    except LocalTokenNotFoundError:
        raise UserError("the Hub needs a token, and there is none.", remedy=_LOGIN) from None
    except _unreachable() as error:
        raise UserError(
            f"the Hub cannot be reached: {first_line(error)}", remedy="Check the network, and try again."
        ) from None


def _unreachable() -> tuple[type[Exception], ...]:
    """What is raised without a connection; `huggingface_hub` 2 has another library below it than 1."""
    loaded = [sys.modules[name] for name in ("httpx", "httpx2") if name in sys.modules]
    return (OSError, *(module.TransportError for module in loaded))
