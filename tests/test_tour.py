"""The notebook runs from top to bottom, and what is committed of it holds no outputs, and so no paths of a machine."""

import base64
import os
import re
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from nbclient import NotebookClient

NOTEBOOK = ROOT / "docs" / "tour.ipynb"


def test_it_is_committed_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(cells) >= 8
    assert not any(cell.outputs or cell.execution_count for cell in cells)


# nbclient's own use of a deprecated part of Python's event loops is not ours to mend.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.slow
def test_it_runs_from_top_to_bottom(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "MLFLOW_TRACKING_URI": "",
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }
    NotebookClient(
        notebook, timeout=280, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute(env=environment)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not any(cell.source.lstrip().startswith(("!", "%")) for cell in notebook.cells if cell.cell_type == "code")
    (progress,) = (output.data["text/plain"] for output in outputs if output.output_type == "display_data")
    assert re.search(r"mlp +2/2", progress)  # one display, written over, in its last state
    assert re.search(r"gru +2/2", progress)
    shown = [output.data for output in outputs if output.output_type == "execute_result"]
    assert "'models:/smoke-imdb@best'" in [data["text/plain"] for data in shown]
    pictures = [data["image/png"] for data in shown if "image/png" in data]
    assert len(pictures) == 2
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    tables = [data["text/html"] for data in shown if "text/html" in data]
    assert len(tables) == 4  # the frame, the leaderboard, the words, the predictions
    assert "probability of positive" in tables[-1]
    assert (tmp_path / "mlflow.db").is_file()
