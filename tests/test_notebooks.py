"""The notebooks of `examples/notebooks` run in a kernel, and are committed with what they show."""

import copy
import importlib.util
from pathlib import Path

import pytest

from tunesmith.models.packaged import PACKAGED

FOLDER = Path(__file__).parents[1] / "examples" / "notebooks"
DEMO = PACKAGED["sentence-transformers/all-MiniLM-L6-v2"]
nbformat = pytest.importorskip(
    "nbformat", reason="needs nbformat, nbclient and ipykernel: pip install nbclient ipykernel"
)


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(FOLDER / "support.ipynb", as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell):
    """What a cell shows, as text and as HTML."""
    found = [output.get("data", {}) for output in cell.outputs]
    return "\n".join(part for data in found for kind, part in data.items() if kind.startswith("text/"))


def test_it_is_committed_with_small_outputs_of_five_cells(notebook):
    cells = code(notebook)
    assert len(cells) == 5
    assert all(shown(cell) for cell in cells)
    assert (FOLDER / "support.ipynb").stat().st_size < 40_000
    assert "accuracy" in shown(cells[1])
    assert "/work/" not in (FOLDER / "support.ipynb").read_text(), "the path of a machine"


@pytest.mark.slow
def test_it_runs_from_a_frame_to_a_report_and_predictions(notebook, tmp_path):
    """With two rows of each intent and three steps."""
    client = pytest.importorskip("nbclient", reason="needs nbclient and ipykernel")
    pytest.importorskip("ipykernel", reason="needs ipykernel")
    if importlib.util.find_spec(DEMO.module) is None:
        pytest.skip("needs the embedded model: pip install 'tunesmith[demo]'")
    short = copy.deepcopy(notebook)
    data, train, report, predictions, errors = code(short)
    for cell, long, little in (
        (data, "lines=True)", "lines=True).groupby('intent').head(2).reset_index(drop=True)"),
        (train, "epochs=6", 'overrides={"train.max_steps": 3}'),
    ):
        assert long in cell.source
        cell.source = cell.source.replace(long, little)
    for cell in code(short):
        cell.outputs = []
    client.NotebookClient(short, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    streams = [output for cell in code(short) for output in cell.outputs if output.output_type == "stream"]
    assert streams == [], "nothing but results and one display"
    assert len(train.outputs) == 2
    assert "── Training: contrastive" in train.outputs[0].data["text/html"]
    assert "<progress" not in train.outputs[0].data["text/html"], "the bar is taken away at the end"
    assert "%" in train.outputs[1].data["text/html"]
    assert report.outputs[0].data["text/html"].startswith("<iframe srcdoc=")
    assert "crank" in shown(predictions)
    assert "intent" in shown(errors)
    assert (tmp_path / "runs" / "support" / "report.html").is_file()
