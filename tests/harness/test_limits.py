"""Absolute budgets of experiments: given once, settled when the task is prepared, and kept with what was asked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import toy_runs

from prunebench.envs.environment.budget import BudgetError
from prunebench.envs.tasks.budgets import Limit
from prunebench.harness.display import Lines
from prunebench.harness.errors import ConfigError, UnmetError
from prunebench.harness.experiments import ahead, gridfile, spoken
from prunebench.harness.experiments import config as configs
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.experiments.grid import expand, overridden, single
from prunebench.harness.record import store
from prunebench.harness.running.bench import bench

COUNTED = {"dense": {"macs": 40_000, "parameters": 900}}
MEASURED = COUNTED | {"latency_ns": 3e6, "smallest": 1e6}


@pytest.fixture
def absolute(config: ExperimentConfig) -> ExperimentConfig:
    return dataclasses.replace(config, preserve=0.0, limit=10_000)


def test_its_fraction_is_known_when_the_task_is_prepared(absolute: ExperimentConfig) -> None:
    configs.check(absolute)
    assert ExperimentConfig(limit=10_000).preserve == 0
    assert ExperimentConfig().preserve == 0.5
    settled = configs.settled(absolute, COUNTED)
    assert settled.preserve == 0.25
    assert spoken.limit(settled) == "10,000 MACs, 25 % of the dense network's"
    assert "macs10K" in str(configs.default_folder(absolute))
    assert configs.default_folder(absolute) == configs.default_folder(settled)


def test_a_latency_that_no_network_has_is_unmet_and_one_above_the_dense_network_refused() -> None:
    for limit, error in ((0.9e6, UnmetError), (3.1e6, BudgetError)):
        with pytest.raises(error, match="latency-ms"):
            configs.settled(ExperimentConfig(cost="latency", limit=limit), MEASURED)
    assert configs.settled(ExperimentConfig(cost="latency", limit=1.5e6), MEASURED).preserve == 0.5


def test_what_is_asked_for_counts_and_not_what_it_turned_out_to_be(absolute: ExperimentConfig) -> None:
    settled = dataclasses.replace(absolute, preserve=0.25)
    assert configs.differences(settled, absolute) == []
    told = configs.differences(settled, dataclasses.replace(absolute, limit=9_000))
    assert told == ["preserve is 10,000 MACs, not 9,000 MACs"]
    assert configs.task_differences(settled, dataclasses.replace(settled, limit=None)) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"macs": Limit("macs", 5), "preserve": 0.4}, "preserve and macs are budgets both: expected one of"),
        ({"macs": Limit("macs", 5), "cost": "latency"}, "limits macs: expected no other cost"),
    ],
)
def test_one_budget_is_given(given: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        single(given)


def test_in_files_too_and_as_lists(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("macs: [150M, 1.2e6]\n")
    cells = expand(overridden(gridfile.read(path), {}))
    assert [(cell.cost, cell.limit) for cell in cells] == [("macs", 150_000_000), ("macs", 1_200_000)]
    (cell,) = expand(overridden(gridfile.read(path), {"latency_ms": Limit("latency", 4e6)}))
    assert (cell.cost, cell.limit) == ("latency", 4e6)
    for text, words in (("macs: 15X", "macs '15X': expected"), ("macs: 1M\npreserve: 0.5", "are budgets both")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=words):
            gridfile.read(path)


def test_an_experiments_own_file_says_it_again(absolute: ExperimentConfig, tmp_path: Path) -> None:
    path = tmp_path / store.NAME
    path.write_text(configs.to_yaml(dataclasses.replace(absolute, preserve=0.25), "bench"))
    assert configs.read_yaml(path)[0].preserve == 0.25
    (again,) = expand(overridden(gridfile.read(path), {}))
    assert again == absolute
    path.write_text(configs.to_yaml(dataclasses.replace(absolute, preserve=0.25, limit=None), "bench"))
    assert "limit" not in path.read_text()


def test_seeds_may_be_added_later(absolute: ExperimentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "modules", lambda *agents: toy_runs.MODULES)
    for seeds in (1, 2):
        config = dataclasses.replace(absolute, seeds=seeds, limit=600_000)
        session = bench(
            config,
            tmp_path / "out",
            command="bench",
            display=Lines(),
            prepare=toy_runs.prepare,
            run_one=toy_runs.run_one,
            measure_latency=toy_runs.measure_latency,
        )
        assert not session.failed
    experiment = store.load(tmp_path / "out")
    assert experiment.config.preserve == pytest.approx(0.6, abs=1e-3)
    assert experiment.config.limit == config.limit
    assert [len(run.lines()) for run in experiment.runs()] == [6, 6]
    assert all(line.cost <= 0.6 for run in experiment.runs() for line in run.lines())
