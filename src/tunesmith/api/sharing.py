"""`push` and `pull`: a run on the Hub, and back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tunesmith.api.keywords import suggesting
from tunesmith.api.using import Folder, open_door

if TYPE_CHECKING:
    from tunesmith.sharing import Upload
    from tunesmith.types import JsonObject


@suggesting
def push(
    run: Folder,
    repo: str,
    *,
    private: bool = False,
    dry_run: bool = False,
    license: str = "",
    force: bool = False,
) -> Upload:
    """Uploads a finished run, or an export, with its model card to the Hub.

    Args:
        run: the run, or its folder.
        repo: name on the Hub, `USER/NAME`.
        private: whether a new repository is private.
        dry_run: make and check everything, and upload nothing.
        license: licence of the model, as the Hub names it; by default that of the base model.
        force: add a commit to a repository that has files.

    Returns:
        What was uploaded: `files`, `card`, and the `url` of the commit.

    Raises:
        RunError: there is no finished run, or a file has something that must not leave this machine.
        UserError: the Hub refuses, or cannot be reached.
    """
    from tunesmith import sharing

    open_door()
    return sharing.push(os.fspath(run), repo, private=private, dry_run=dry_run, license=license, force=force)


@suggesting
def pull(
    repo: str,
    *,
    output_dir: str | os.PathLike[str] | None = None,
    revision: str | None = None,
    force: bool = False,
) -> JsonObject:
    """Downloads what `push` has uploaded; `load` reads the folder.

    Args:
        repo: name on the Hub, `USER/NAME`.
        output_dir: folder to write; None writes `runs/NAME`.
        revision: branch, tag or commit.
        force: replace an earlier folder of `pull`.

    Returns:
        The facts of the model, with the `path` of the folder.

    Raises:
        ModelError: the Hub has no such model, it was not pushed by tunesmith, or a file is damaged.
        RunError: the folder exists.
        UserError: the Hub refuses, or cannot be reached.
    """
    from tunesmith import sharing

    open_door()
    return sharing.pull(
        repo, None if output_dir is None else os.fspath(output_dir), revision=revision, force=force
    )
