"""Runs on the toy task instead of a network: in this process, and in processes of their own."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from prunebench.harness.experiments import registry
from prunebench.harness.experiments.config import ExperimentConfig

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
