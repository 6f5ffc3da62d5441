"""The web site of the docs, and the page of a package index: no broken links, and nothing from elsewhere."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def module_of(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build_site = module_of(ROOT / "docs" / "build_site.py")


def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path):
    """A broken link stops the build."""
    pytest.importorskip("mkdocs")
    build_site.build(tmp_path / "site")
    pages = {
        page.relative_to(tmp_path / "site").as_posix(): page for page in (tmp_path / "site").rglob("*.html")
    }
    assert {"index.html", "faq.html", "tutorials/chat.html", "benchmarks/quality.html"} <= {*pages}
    for page in pages.values():
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(
            r"<(?:script|img|iframe)[^>]* src=\"(https?:[^\"]+)|<link[^>]* href=\"(https?:[^\"]+)", text
        )
        assert not loaded, page


def test_a_broken_link_stops_the_build(tmp_path, monkeypatch):
    pytest.importorskip("mkdocs")
    from mkdocs.exceptions import Abort

    real = build_site.write_pages

    def write_broken(folder):
        real(folder)
        (folder / "faq.md").write_text("# Questions\n\n[nowhere](nowhere.md)\n")

    monkeypatch.setattr(build_site, "write_pages", write_broken)
    with pytest.raises(Abort):
        build_site.build(tmp_path / "site")


def test_a_page_that_the_navigation_lacks_is_in_the_guide():
    navigation = ["index.md", {"Guide": ["tasks.md"]}, {"Reference": ["recipe.md"]}]
    pages = ["index.md", "new.md", "recipe.md", "tasks.md"]
    expected = ["index.md", {"Guide": ["tasks.md", "new.md"]}, {"Reference": ["recipe.md"]}]
    assert build_site.with_all_pages(navigation, pages) == expected


@pytest.mark.parametrize(
    ("source", "text", "expected"),
    [
        ("docs/evaluate.md", "[c](../benchmarks/coverage.md#a)", "[c](benchmarks/coverage.md#a)"),
        ("docs/tutorials/chat.md", "[c](../tasks.md#chat)", "[c](../tasks.md#chat)"),
        (
            "README.md",
            "[t](docs/tutorials/chat.md) ![p](docs/images/report.png)",
            "[t](tutorials/chat.md) ![p](images/report.png)",
        ),
        ("docs/faq.md", "[start](../README.md)", "[start](index.md)"),
        (
            "docs/faq.md",
            "[`code`](../src/tunesmith/errors.py), [web](https://x.org/a.md)",
            "`code`, [web](https://x.org/a.md)",
        ),
        ("benchmarks/quality.md", "[d](../docs/data.md)", "[d](../data.md)"),
    ],
)  # fmt: skip
def test_links_of_the_site(source, text, expected):
    names = {
        "README.md": "index.md", "docs/evaluate.md": "evaluate.md", "docs/faq.md": "faq.md",
        "docs/data.md": "data.md", "docs/tasks.md": "tasks.md", "docs/tutorials/chat.md": "tutorials/chat.md",
        "docs/images/report.png": "images/report.png",
        "benchmarks/quality.md": "benchmarks/quality.md", "benchmarks/coverage.md": "benchmarks/coverage.md",
    }  # fmt: skip
    assert build_site.with_links_of_the_site(text, source, names) == expected


def test_the_page_of_an_index_has_no_links_into_the_repository():
    pytest.importorskip("hatchling")
    page = module_of(ROOT / "hatch_build.py").without_relative_links(
        (ROOT / "README.md").read_text(encoding="utf-8")
    )
    assert not re.findall(r"\]\((?!https?:)[^)]*\)", page)
    assert "report.png" not in page
    assert "tunesmith train reviews.csv" in page
