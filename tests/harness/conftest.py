"""Runs on the toy task instead of a network: in this process, and in processes of their own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# Child processes take sys.path over: that is how they find toy_runs. The repository goes first, since
# tests/harness would otherwise pass for the package of that name.
sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

import toy_runs
from harness import registry
from harness.config import ExperimentConfig


@pytest.fixture(autouse=True)
def toy_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agents of ``toy_runs`` are registered."""
    monkeypatch.setattr(registry, "registered", toy_runs.registered)


@pytest.fixture
def config() -> ExperimentConfig:
    return ExperimentConfig(agents=("sampler",), evaluations=6, seeds=2)
