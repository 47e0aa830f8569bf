"""Forecasts: their arithmetic, and what they are made of, measured on a real network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import toy_runs

from prunebench.envs.tasks.estimating import Preparation, evaluation_costs, preparation_costs
from prunebench.envs.tasks.task import TaskConfig
from prunebench.harness.display import Lines
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.experiments.execution import Execution
from prunebench.harness.processes import local
from prunebench.harness.record.store import Experiment
from prunebench.harness.running import bench as benches
from prunebench.harness.running import forecast
from prunebench.harness.running import plan as plans
from prunebench.harness.running.measuring import Costs, _groups
from prunebench.harness.running.plan import Plan

IMAGES = {"train": 1000, "reward": 100, "test": 50, "calibration": 300}
BEFORE = Preparation(training=100.0, calibration=10.0, rest=5.0, images=IMAGES, bytes=1 << 30, shared=1 << 28)


def measured(configs: Sequence[ExperimentConfig], jobs: int, display: Any) -> tuple[list[Costs], float]:
    return [Costs(BEFORE, 0.01 * config.preserve, 1 << 29) for config in configs], 3.0


def plan(tmp_path: Path, config: ExperimentConfig, *changes: dict[str, Any], jobs: int = 2) -> Plan:
    configs = [dataclasses.replace(config, **change) for change in changes or ({},)]
    return Plan([Experiment(tmp_path / str(n), one) for n, one in enumerate(configs)], Execution(jobs))


def test_runs_are_added_up_and_shared_among_jobs(config: ExperimentConfig, tmp_path: Path) -> None:
    ((found,), start_up) = forecast.forecast(plan(tmp_path, config), Lines(), measured)
    each = 1.0 + 1.07 * 0.005 * (6 * 100 + 50)
    timed = 1000 * 3 * 0.005
    assert found.runs == pytest.approx(2 * each / 2 + timed)
    assert (found.training, found.preparation, start_up) == (100.0, 115.0, 3.0)
    assert found.bytes == 2 * (1 << 29) + (1 << 28)
    alone = forecast.forecast(plan(tmp_path, config, jobs=1), Lines(), measured)[0][0]
    assert alone.runs == pytest.approx(2 * each + timed)


def test_what_one_experiment_prepares_the_next_need_not(config: ExperimentConfig, tmp_path: Path) -> None:
    other = dataclasses.replace(config.task, split_seed=1)
    wanted = plan(tmp_path, config, {}, {"preserve": 0.3}, {"task": other})
    found, _ = forecast.forecast(wanted, Lines(), measured)
    assert [one.preparation for one in found] == [115.0, 5.0, 115.0]


def test_networks_are_measured_once(config: ExperimentConfig) -> None:
    tasks = [config.task, dataclasses.replace(config.task, split_seed=1), TaskConfig(model="resnet20"), config.task]
    configs = [
        dataclasses.replace(config, task=task, preserve=p) for task, p in zip(tasks, (0.5, 0.5, 0.5, 0.3), strict=True)
    ]
    assert _groups(configs) == [[0, 1, 3], [2]]


def test_what_is_done_is_not_forecast(
    config: ExperimentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "HEAVY_MODULES", ("prunebench.harness.inside.run", "torch"))
    monkeypatch.setattr(benches.registry, "own_modules", lambda agents: [])
    wanted = plan(tmp_path, config, {}, {"preserve": 0.3})
    work = {"prepare": toy_runs.prepare, "run_one": toy_runs.run_one, "measure_latency": toy_runs.measure_latency}
    benches.bench(config, tmp_path / "0", command="", display=Lines(), **work)
    text = forecast.describe(wanted, Lines(), measured)
    rows = [line.split() for line in text.splitlines() if line.startswith("mobilenetv2")]
    assert rows[0][-4:] == ["2", "0", "-", "-"]
    assert "2 runs" in text.splitlines()[-3]
    more = Plan([Experiment(tmp_path / "0", dataclasses.replace(config, seeds=3))], Execution(2))
    assert [run.seed for run in plans.missing(more.experiments[0])] == [2]
    nothing = forecast.describe(Plan(wanted.experiments[:1], Execution(2)), Lines(), measured)
    assert nothing.endswith("nothing to do: every run is done")
    assert not (tmp_path / "1").exists()


def test_a_real_network_is_measured_and_nothing_written(
    cache_directory: Path, checkpoint: Callable[[str], str]
) -> None:
    before = sorted(cache_directory.rglob("*"))
    task = TaskConfig(model="resnet20", weights=checkpoint("resnet20"), reward_images=20, batch_size=20)
    (half, third), used = evaluation_costs(print, task, [("macs", 0.5, 0.1), ("macs", 0.3, 0.1)], 1)
    assert 0 < third < 0.1
    assert 0 < half < 0.1
    assert used > 100 << 20
    untrained = dataclasses.replace(task, weights=None, split_seed=7)
    ready, fresh = preparation_costs(print, [task, untrained], 1)
    assert ready.training == 0
    assert fresh.training > fresh.calibration > 0
    assert ready.images == {"train": 21940, "reward": 20, "test": 1800, "calibration": 3000}
    assert sorted(cache_directory.rglob("*")) == before
