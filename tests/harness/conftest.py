"""Runs on the toy task instead of a network: in this process, and in processes of their own."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path

import pytest

from prunebench.harness.experiments import ahead, registry
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.record import store
from prunebench.harness.record.store import Experiment

sys.path.insert(1, str(Path(__file__).parent))  # child processes take it over: that is how they find toy_runs
toy_runs = importlib.import_module("toy_runs")


@pytest.fixture(autouse=True)
def toy_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agents of ``toy_runs`` are registered, and none of them is a control."""
    monkeypatch.setattr(registry, "registered", toy_runs.registered)
    monkeypatch.setattr(registry, "CONTROLS", ())


@pytest.fixture
def config() -> ExperimentConfig:
    return ExperimentConfig(agents=("sampler",), evaluations=6, seeds=2)


@pytest.fixture
def finished_runs_server(monkeypatch: pytest.MonkeyPatch, fresh_server: None) -> None:
    """Commands start their processes from a server that imports what ``finished_runs`` needs, and no more."""
    monkeypatch.setattr(ahead, "modules", lambda *of_tasks: importlib.import_module("finished_runs").MODULES)


@pytest.fixture(scope="module")
def fresh_server() -> None:
    """The server of the module before, which has imported other things, is stopped."""
    importlib.import_module("finished_runs").stop_server()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """An experiment whose runs are done; to be looked at and not changed."""
    finished_runs, folder = importlib.import_module("finished_runs"), tmp_path_factory.mktemp("finished")
    data, checkpoint = finished_runs.images(folder / "data"), finished_runs.weights(folder / "weights.pt")
    return finished_runs.make(folder / "experiment", data, checkpoint)


@pytest.fixture
def experiment(finished: Experiment, tmp_path: Path) -> Experiment:
    """A copy of it, to be changed."""
    shutil.copytree(finished.folder, tmp_path / "x")
    return store.load(tmp_path / "x")
