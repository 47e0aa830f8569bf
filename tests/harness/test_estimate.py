"""Forecasts: their arithmetic, and what they are made of, measured on a real network."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import toy_runs

from prunebench.envs.tasks import preparation
from prunebench.envs.tasks.task import TaskConfig, load_data
from prunebench.harness.display import Lines
from prunebench.harness.experiments import ahead
from prunebench.harness.experiments.agentspec import AgentSpec
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.experiments.execution import Execution
from prunebench.harness.inside import estimate, prepare
from prunebench.harness.processes import local
from prunebench.harness.record.store import Experiment
from prunebench.harness.running import bench as benches
from prunebench.harness.running import forecast
from prunebench.harness.running import plan as plans
from prunebench.harness.running.plan import Plan

BEFORE = {"training": 100.0, "calibration": 10.0, "rest": 5.0, "preparing": 1 << 30}
RUN = {"set_up": 1.0, "evaluation": 0.5, "test": 0.25, "timing": 5.0, "running": 1 << 29, "shared": 1 << 28}
COSTS = BEFORE | RUN | {"start-up": 3.0, "most": {}}


def plan(tmp_path: Path, config: ExperimentConfig, *changes: dict[str, Any], jobs: int = 2) -> Plan:
    configs = [dataclasses.replace(config, **change) for change in changes or ({},)]
    return Plan([Experiment(tmp_path / str(n), one) for n, one in enumerate(configs)], Execution(jobs))


def test_runs_are_added_up_and_shared_among_jobs(config: ExperimentConfig, tmp_path: Path) -> None:
    runs = Experiment(tmp_path, config).runs()
    parts, used = forecast.forecast(runs, 6, COSTS, 2)
    each, timed = 1.0 + 6 * 0.5 + 0.25, 3 * 5.0
    assert parts == {"training": 100.0, "other preparation": 15.0, "runs": pytest.approx(2 * each / 2 + timed)}
    assert used == 2 * (1 << 29) + (1 << 28)
    assert forecast.forecast(runs, 6, COSTS, 1)[0]["runs"] == pytest.approx(2 * each + timed)
    assert forecast.forecast(runs, 6, COSTS, 1)[1] == 1 << 30


def test_an_agent_says_itself_that_it_needs_fewer_evaluations(config: ExperimentConfig, tmp_path: Path) -> None:
    runs = Experiment(tmp_path, config).runs()
    parts, _ = forecast.forecast(runs, 6, COSTS | {"most": {"sampler": 1}}, 1)
    assert parts["runs"] == pytest.approx(2 * (1.0 + 0.5 + 0.25) + 3 * 5.0)


def test_agents_are_asked_when_they_are_checked(
    config: ExperimentConfig, checkpoint: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from prunebench.agents.uniform import UniformAgent

    monkeypatch.setattr(prepare.registry, "load", lambda name: {"uniform": UniformAgent}[name])
    task = TaskConfig(model="resnet20", weights=checkpoint("resnet20"))
    asked = dataclasses.replace(config, task=task, agents=(AgentSpec("uniform"),))
    assert prepare.check_ahead(lambda *_: None, [asked]) == {"uniform": 1}


class Stub:
    """In the place of processes: notes what is asked of them, and answers with numbers that tell the jobs apart."""

    jobs: list[local.Job]

    def __init__(self, *_: Any) -> None:
        Stub.jobs = []

    def __enter__(self) -> Stub:
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def call(self, job: local.Job) -> list[dict[str, float]]:
        self.jobs.append(job)
        return [BEFORE] * len(job.args[0])

    def call_all(self, jobs: Sequence[local.Job]) -> list[list[dict[str, float]]]:
        self.jobs += jobs
        return [[RUN | {"evaluation": float(n)} for _ in job.args[1]] for n, job in enumerate(jobs)]


def test_networks_are_measured_once(config: ExperimentConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "Processes", Stub)
    monkeypatch.setattr(forecast, "check_ahead", lambda *_: (3.0, {}))
    tasks = [config.task, dataclasses.replace(config.task, split_seed=1), TaskConfig(model="resnet20"), config.task]
    configs = [
        dataclasses.replace(config, task=task, preserve=p) for task, p in zip(tasks, (0.5, 0.5, 0.5, 0.3), strict=True)
    ]
    costs = forecast.measure(configs, 3, Lines())
    assert [len(job.args[0]) for job in Stub.jobs if job.name == "preparing"] == [3, 1]
    assert [job.args[1][-1][1] for job in Stub.jobs if job.name == "running"] == [0.3] * 3 + [0.5] * 3
    assert costs == [BEFORE | RUN | {"evaluation": 1.0, "start-up": 3.0, "most": {}}] * 4


def test_what_is_done_is_not_forecast(
    config: ExperimentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "modules", lambda *agents: toy_runs.MODULES)
    monkeypatch.setattr(forecast, "measure", lambda configs, jobs, display: [COSTS] * len(configs))
    wanted = plan(tmp_path, config, {}, {"preserve": 0.3})
    work = {"prepare": toy_runs.prepare, "run_one": toy_runs.run_one, "measure_latency": toy_runs.measure_latency}
    benches.bench(config, tmp_path / "0", command="", display=Lines(), **work)
    text = forecast.describe(wanted, Lines())
    rows = [line.split() for line in text.splitlines() if line.startswith("mobilenetv2")]
    assert rows[0][-4:] == ["2", "0", "-", "-"]
    assert rows[1][-8:] == ["0", "2", "~", "2", "min", "~", "1.2", "GiB"]
    assert "(start-up 3 s, training 2 min, other preparation 15 s, 2 runs 19 s)" in text.splitlines()[-3]
    more = Plan([Experiment(tmp_path / "0", dataclasses.replace(config, seeds=3))], Execution(2))
    assert [run.seed for run in plans.missing(more.experiments[0])] == [2]
    nothing = forecast.describe(Plan(wanted.experiments[:1], Execution(2)), Lines())
    assert nothing.endswith("nothing to do: every run is done")
    assert not (tmp_path / "1").exists()


def test_a_real_network_is_measured_and_nothing_written(
    cache_directory: Path, checkpoint: Callable[[str], str]
) -> None:
    before = sorted(cache_directory.rglob("*"))
    task = TaskConfig(model="resnet20", weights=checkpoint("resnet20"), reward_images=20, batch_size=20, split_seed=11)
    half, third = estimate.running(print, task, [("macs", 0.5, 0.1, None, 1), ("macs", 0.3, 0.1, None, 1)], 1)
    assert 0 < third["evaluation"] < 2
    assert 0 < half["evaluation"] < half["test"] < 20
    assert half["running"] > 100 << 20
    untrained = dataclasses.replace(task, weights=None, split_seed=7)
    ready, fresh, again = estimate.preparing(print, [task, untrained, untrained], 1)
    assert ready["training"] == again["training"] == again["calibration"] == 0
    assert fresh["training"] > fresh["calibration"] == ready["calibration"] > 0
    assert load_data(task).sizes() == {"train": 21940, "reward": 20, "test": 1800}
    assert sorted(cache_directory.rglob("*")) == before


def test_a_cached_task_is_neither_trained_nor_calibrated_again(checkpoint: Callable[[str], str]) -> None:
    task = TaskConfig(model="resnet20", weights=checkpoint("resnet20"), calibration_images=60, split_seed=9)
    assert preparation.cached(task) == (True, False)
    preparation.ensure_prepared(task)
    assert preparation.cached(task) == (True, True)
    (found,) = estimate.preparing(print, [task], 1)
    assert found["training"] == found["calibration"] == 0 < found["rest"]


def test_a_dry_run_asks_the_agents_and_writes_nothing(
    config: ExperimentConfig,
    tmp_path: Path,
    cache_directory: Path,
    checkpoint: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ahead, "modules", lambda *agents: toy_runs.MODULES)
    before = sorted(cache_directory.rglob("*"))
    task = TaskConfig(model="resnet20", weights=checkpoint("resnet20"), reward_images=20, calibration_images=200)
    asked = dataclasses.replace(config, task=task, agents=(AgentSpec("uniform"),), evaluations=100_000)
    text = forecast.describe(plan(tmp_path, asked), Lines())
    assert re.search(r"\nabout \d.* on .* runs at a time \(start-up \d.*, other preparation \d.*, 2 runs \d.*\);", text)
    assert sorted(cache_directory.rglob("*")) == before
    assert list(tmp_path.iterdir()) == []
