"""Processes spread over GPUs, on a machine that need not have any."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import toy_runs

from prunebench.envs.tasks.task import TaskConfig
from prunebench.harness.display import Lines
from prunebench.harness.experiments import ahead
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.experiments.execution import Execution
from prunebench.harness.processes import gpus
from prunebench.harness.processes.gpus import VARIABLE, Shares
from prunebench.harness.record import store
from prunebench.harness.running import bench as benches


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of commands that is all there is."""
    gpus._installed.cache_clear()
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr(gpus.shutil, "which", lambda name: str(tmp_path / name) if (tmp_path / name).exists() else None)
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("told", "found"),
    [("0,2", ["0", "2"]), ("GPU-a, MIG-b", ["GPU-a", "MIG-b"]), ("", []), ("-1", []), ("1,-1,2", ["1"])],
)
def test_what_the_variable_says_is_visible(told: str, found: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, told)
    assert gpus.visible() == found


def test_without_the_variable_the_driver_is_asked(no_driver: Path) -> None:
    assert gpus.visible() == []
    gpus._installed.cache_clear()
    tool = no_driver / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf 'GPU-a\\nGPU-b\\n'\n")
    tool.chmod(0o755)
    assert gpus.visible() == ["GPU-a", "GPU-b"]
    gpus._installed.cache_clear()


def test_every_process_has_a_free_gpu_and_shares_the_least_used() -> None:
    shares = Shares(["a", "b", "c"])
    assert [shares.take() for _ in range(4)] == ["a", "b", "c", "a"]
    shares.give_back("b")
    assert shares.take() == "b"
    shares.give_back("c")
    shares.give_back("a")
    assert [shares.take(), shares.take()] == ["c", "a"]
    assert Shares(["a"]).take() is None


def test_runs_are_spread_and_say_where_they_were(
    config: ExperimentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "modules", lambda *agents: toy_runs.MODULES)
    monkeypatch.setenv(VARIABLE, "5,GPU-b")
    config = dataclasses.replace(config, task=TaskConfig(device="cuda"), seeds=4)
    assert Execution().at_once(config) == 2
    assert Execution(jobs=3).at_once(config) == 3
    parts = {"prepare": toy_runs.prepare, "run_one": toy_runs.run_one, "measure_latency": toy_runs.measure_latency}
    benches.bench(config, tmp_path / "x", command="", display=Lines(), **parts)
    states = [run.status() for run in store.load(tmp_path / "x").runs()]
    assert [status.state for status in states] == ["done"] * 4
    assert {status.gpu for status in states} == {"5", "GPU-b"}


def test_runs_on_processors_have_none(config: ExperimentConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0,1,2")
    monkeypatch.setattr("prunebench.harness.experiments.execution.cores", lambda: 8)
    assert Execution().at_once(config) == 8
