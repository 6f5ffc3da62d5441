"""What a script of faults does with its cases: prints each, writes the table, and ends with 1 if one is bad."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar

from kills import into_page


class HasProblem(Protocol):
    """A case: a fault that was made, and what came of it."""

    @property
    def problem(self) -> str:
        """What is wrong; empty if all is well."""


Case = TypeVar("Case", bound=HasProblem)


def parser_of(about: str | None) -> argparse.ArgumentParser:
    """The options of every script: where it works, and the page that gets its table."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--page", type=Path)
    return parser


def work_off(
    given: argparse.Namespace,
    cases: Callable[[Path], Iterable[Case]],
    line: Callable[[Case], str],
    table: Callable[[list[Case]], str],
    marks: tuple[str, str],
) -> NoReturn:
    """Makes every case in the folder, or in one that is removed afterwards, and ends the process.

    Args:
        given: options of `parser_of`.
        cases: makes the cases in a folder.
        line: a case in words.
        table: all of them as Markdown.
        marks: lines of the page around the table.
    """
    base, found = given.folder or Path(tempfile.mkdtemp(prefix="faults-")), []
    for case in cases(base.resolve()):
        found.append(case)
        print(f"{len(found):4} {'BAD' if case.problem else 'ok '} {line(case)}", flush=True)
        if case.problem:
            print(f"         {case.problem}", flush=True)
    print(table(found))
    if given.page:
        into_page(given.page, *marks, table(found))
    if given.folder is None:
        shutil.rmtree(base)
    sys.exit(any(case.problem for case in found))
