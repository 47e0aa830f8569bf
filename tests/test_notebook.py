"""The notebook of the docs runs, from an empty folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

from prunebench.envs.tasks.keys import Dense
from prunebench.envs.tasks.task import TaskConfig, load_data

NOTEBOOK = Path(__file__).parents[1] / "docs" / "quickstart.ipynb"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_quick_start_runs(tmp_path: Path, checkpoint: Callable[[str], str]) -> None:
    task = TaskConfig(model="resnet20")
    trained = Dense(task, load_data(task)).weights_path
    trained.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(checkpoint("resnet20"), trained)  # in place of a minute's training
    few = NOTEBOOK.read_text().replace("seeds=2, evaluations=10", "seeds=1, evaluations=3")
    notebook = nbformat.reads(few, as_version=4)
    NotebookClient(notebook, timeout=580, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [cell.outputs[-1] for cell in notebook.cells if cell.cell_type == "code"]
    shown = [output.get("data", {}) for output in outputs]
    assert "adaptive_clustered_bo" in shown[0]["text/html"]
    assert "image/png" in shown[3]
    assert "my_agent:MyAgent" in shown[5]["text/html"]
    assert shown[6]["text/plain"] == "[]"
    (page,) = tmp_path.glob("results/*/report.html")
    table = pd.read_csv(page.parent / "tables" / "table.csv").set_index("agent")
    assert table.loc["my_agent:MyAgent", "evaluations"] == 3
