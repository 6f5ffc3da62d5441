"""Runs the notebooks of `examples/notebooks`, and keeps their outputs, but for pages within a page.

python docs/execute_notebooks.py     takes some minutes; needs nbclient, ipykernel, pandas and the embedded model
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "examples" / "notebooks"
_MOST_CHARACTERS = 20_000


def execute(path: Path) -> None:
    """Runs a notebook in an empty folder, and writes it with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory() as folder:
        where = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=3600, record_timing=False, resources=where).execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            for kind, content in dict(output.get("data", {})).items():
                if len(content) > _MOST_CHARACTERS:  # a report, which no preview of a notebook shows
                    del output["data"][kind]
                else:
                    output["data"][kind] = content.replace(f"{sys.prefix}/", "")
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        execute(path)
        print(path)
