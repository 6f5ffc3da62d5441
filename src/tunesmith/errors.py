"""Every error this package raises on purpose.

TunesmithError                      exit code 1
├── UserError                       exit code 2: rule, value, remedy and location; the user can fix it
│   ├── RecipeError                 the recipe or an argument
│   ├── DataError                   a file, a column or a row
│   ├── ModelError                  a model that is missing, unfit or unsafe
│   ├── RunError                    a run folder that is missing, taken or of another recipe
│   ├── UnknownNameError            a look-up in a registry that failed
│   └── PluginError                 an entry of an installed package that cannot be used
├── OtherProcessError               exit code 75: a process that trains together with this one has ended
├── CheckBlockedError               exit code 3: the check found what makes training pointless
├── NonFiniteError                  exit code 1: a loss, gradient or feature is not a number
└── InterruptedRunError             exit code 75: stopped by a signal with everything saved

A `UserError` without a remedy is a bug, so the remedy is a required argument. Passwords in URLs are masked in
every message.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from tunesmith.masking import masked_text

_NEAR = 0.7
"""Least share of letters in common, as `difflib` counts them; at 0.6, `batch` would be near `path`."""
_MOST_LISTED = 25


class TunesmithError(Exception):
    """Root of the tree.

    Args:
        rule: what must hold, and the value that broke it, as one sentence.
        remedy: what the user can do.
        location: where the problem was found (`recipe.yaml, line 12`), if known.
    """

    exit_code = 1

    def __init__(self, rule: str, *, remedy: str = "", location: str = "") -> None:
        self.rule, self.remedy, self.location = map(masked_text, (rule, remedy, location))
        super().__init__(self.rule)

    def __str__(self) -> str:
        head = f"{self.location}: {self.rule}" if self.location else self.rule
        return f"{head}\n{self.remedy}" if self.remedy else head


class UserError(TunesmithError):
    """A problem that the user can fix."""

    exit_code = 2

    def __init__(self, rule: str, *, remedy: str, location: str = "") -> None:
        super().__init__(rule, remedy=remedy, location=location)


class RecipeError(UserError):
    """The recipe, or an argument of the command line, is wrong."""


class DataError(UserError):
    """A data file, a column or a row is wrong."""


class ModelError(UserError):
    """A model is missing, unfit for the task, or refused as unsafe."""


class RunError(UserError):
    """A run folder is missing, unfinished, in use, or belongs to another recipe."""


class UnknownNameError(UserError):
    """A name is not among those known; the remedy lists them."""


class PluginError(UserError):
    """What an installed package adds cannot be loaded, or has the name of something else."""


class OtherProcessError(TunesmithError):
    """A process that trains together with this one has ended; what it ended with, it says itself.

    This one is stopped by it, as by a signal: the same command resumes.
    """

    exit_code = 75


class CheckBlockedError(TunesmithError):
    """The data check found a problem that makes training pointless."""

    exit_code = 3


class NonFiniteError(TunesmithError):
    """A loss, a gradient norm, a weight or a feature is infinite or not a number; no checkpoint holds it.

    Args:
        rule: what must hold, and the value that broke it, as one sentence.
        remedy: what the user can do.
        location: where it was found.
        is_after_update: whether the last update has made the number.
    """

    def __init__(
        self, rule: str, *, remedy: str = "", location: str = "", is_after_update: bool = False
    ) -> None:
        self.is_after_update = is_after_update
        super().__init__(rule, remedy=remedy, location=location)


class InterruptedRunError(TunesmithError):
    """A signal stopped the run after everything was saved; the same command resumes it."""

    exit_code = 75


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """One sentence that names the nearest of `known`; where none is near, all of them, unless they are many."""
    names = sorted(known)
    if near := nearest(name, names):
        return f"Did you mean `{near}`?"
    if len(names) > _MOST_LISTED:
        return ""
    return "Known: " + ", ".join(f"`{known_name}`" for known_name in names) + "."


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is spelled nearly as `name`; empty where none is near.

    What all names have in common before their last dot, such as the section of a recipe's keys, is no likeness.
    Neither are hyphens, underscores and capitals a difference.
    """
    by_spelling = {_spelling(known_name, name): known_name for known_name in known}
    close = difflib.get_close_matches(_spelling(name, name), by_spelling, n=1, cutoff=_NEAR)
    return by_spelling[close[0]] if close else ""


def _spelling(known_name: str, asked: str) -> str:
    """A name as it is compared: without the section that it shares with what was asked for."""
    section, dot, _ = asked.rpartition(".")
    return known_name.removeprefix(section + dot).lower().replace("-", "_")


def is_panic(error: BaseException) -> bool:
    """Whether a library of Rust gave up; the class of such errors has no module, and is no `Exception`."""
    return type(error).__name__ == "PanicException"


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type, as a sentence."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if line.endswith(".") else line + "."
