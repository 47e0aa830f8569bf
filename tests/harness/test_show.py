"""An experiment on the screen, at every stage."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import toy_runs

from prunebench.harness.analysis.results import Results
from prunebench.harness.display import Lines
from prunebench.harness.experiments import ahead
from prunebench.harness.experiments.config import ExperimentConfig, to_yaml
from prunebench.harness.record.store import Experiment
from prunebench.harness.report import overview
from prunebench.harness.running import bench as benches


def test_one_that_was_only_begun(config: ExperimentConfig, tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text(to_yaml(config, ""))
    text = overview.text(Results([Experiment(tmp_path, config)]))
    assert "mobilenetv2 (published or trained) on digits" in text
    assert "2 runs, 2 waiting" in text
    assert "no table yet" in text


def test_one_with_failures_and_more_seeds_to_come(
    config: ExperimentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "modules", lambda *agents: toy_runs.MODULES)
    config = dataclasses.replace(config, agents=("sampler", "failing"), seeds=1)
    benches.bench(
        config,
        tmp_path / "x",
        command="",
        display=Lines(),
        prepare=toy_runs.prepare,
        run_one=toy_runs.run_one,
        measure_latency=toy_runs.measure_latency,
    )
    text = overview.text(Results([Experiment(tmp_path / "x", dataclasses.replace(config, seeds=2))]))
    rows = {tuple(line.split()[:2]): line.split() for line in text.splitlines() if line[:1].isalpha()}
    assert rows["sampler", "0"][2:4] == ["done", "6/6"]
    assert rows["failing", "0"][2:4] == ["failed", "2/6"]
    assert "ZeroDivisionError: on purpose" in text
    assert rows["sampler", "1"][2:4] == ["waiting", "0/6"]
    assert "4 runs, 1 done, 1 failed, 2 waiting" in text
    assert "reward split" in text
