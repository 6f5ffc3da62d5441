"""Builds the web site of the docs: `python docs/build_site.py [FOLDER]`, by default into `site/`.

In the repository, every link leads to a file. The site has no folder `docs/`, and files of code are no
pages of it. So the pages are copied into a folder of their own first, with the links written anew: to the page
of a file, or as plain text where there is none. README.md is the first page. What builds the site from this folder
and `mkdocs.yml` can be replaced.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_OUTSIDE = ["CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
_LINK = re.compile(r"(!?)\[((?:[^\]`]|`[^`]*`)*)\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)]*)?\)")


def build(folder: Path) -> None:
    """Builds the site; a link that leads nowhere is an error."""
    os.environ["NO_MKDOCS_2_WARNING"] = "1"
    from mkdocs.commands.build import build as build_site
    from mkdocs.config import load_config

    with tempfile.TemporaryDirectory() as pages:
        write_pages(Path(pages))
        config = load_config(str(ROOT / "mkdocs.yml"), docs_dir=pages, site_dir=str(folder), strict=True)
        config.nav = with_all_pages(config.nav, sorted(filter(_is_page, _names().values())))
        build_site(config)


def write_pages(folder: Path) -> None:
    """Writes the pages and pictures of the site into a folder."""
    names = _names()
    for source, name in names.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".md"):
            text = (ROOT / source).read_text(encoding="utf-8")
            target.write_text(with_links_of_the_site(text, source, names), encoding="utf-8")
        else:
            shutil.copyfile(ROOT / source, target)


def with_links_of_the_site(text: str, source: str, names: dict[str, str]) -> str:
    """A page with its relative links written anew.

    Args:
        text: the page as it is in the repository.
        source: its path in the repository.
        names: path in the site of each file that the site has, by its path in the repository.
    """

    def rewritten(link: re.Match[str]) -> str:
        picture, shown, target, anchor = link.groups()
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if file not in names and (ROOT / file).exists():
            return shown
        there = posixpath.relpath(names.get(file, file), posixpath.dirname(names[source]) or ".")
        return f"{picture}[{shown}]({there}{anchor or ''})"

    return _LINK.sub(rewritten, text)


def with_all_pages(navigation: list[Any], pages: list[str]) -> list[Any]:
    """A navigation with the pages that it lacks at the end of its `Guide`, so that a new page is found."""
    listed = str(navigation)
    lacking = [page for page in pages if repr(page) not in listed]
    return [
        {"Guide": [*entry["Guide"], *lacking]} if isinstance(entry, dict) and "Guide" in entry else entry
        for entry in navigation
    ]


def _is_page(name: str) -> bool:
    return name.endswith(".md")


def _names() -> dict[str, str]:
    pages = [file for file in sorted((ROOT / "docs").rglob("*")) if file.suffix in {".md", ".png", ".json"}]
    names = {file.relative_to(ROOT).as_posix(): file.relative_to(ROOT / "docs").as_posix() for file in pages}
    del names["docs/models.json"]
    outside = [*_OUTSIDE, *(f"benchmarks/{file.name}" for file in sorted((ROOT / "benchmarks").glob("*.md")))]
    return {**names, **{name: name for name in outside}, "README.md": "index.md"}


if __name__ == "__main__":
    build(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "site").resolve())
