"""Scoring one policy: what a file may hold, and what comes out on the toy."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_runs

from prunebench.harness.display import Lines
from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments import ahead
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.processes.local import JobError
from prunebench.harness.running import score as scoring


@pytest.fixture(autouse=True)
def light_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "modules", lambda *agents: toy_runs.MODULES)


def score(policy: Any, config: ExperimentConfig, clip: bool = False) -> dict[str, Any]:
    return scoring.score(scoring.checked(policy), config, clip=clip, display=Lines(), score_one=toy_runs.score_policy)


def test_a_policy_is_scored_as_it_is(config: ExperimentConfig) -> None:
    found = score([1.0, 0.5, 0.01, 0.76], config)
    assert found["channels"] == [32, 16, 1, 24]
    assert not found["feasible"]
    assert found["dense"]["channels"] == [32] * toy_runs.LAYERS
    assert found == score({"channels": [32, 16, 1, 24]}, config) | {"requested": found["requested"]}
    text = scoring.text(found, config)
    assert "meets the budget no:" in text
    assert "layer2      1 of    32" in text


def test_or_clipped_to_the_budget(config: ExperimentConfig) -> None:
    config = dataclasses.replace(config, preserve=0.3)
    found = score({"ratios": [1.0] * toy_runs.LAYERS}, config, clip=True)
    assert found["feasible"]
    assert found["cost"] <= 0.3
    assert "meets the budget yes:" in scoring.text(found, config)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ([0.5], "1 ratios: expected 4, one for every prunable layer"),
        ({"channels": [1] * 5}, "5 channels: expected 4"),
        ({"channels": [1, 1, 33, 1]}, "33 channels for layer layer2: expected 1 to 32"),
    ],
)
def test_a_policy_of_another_network_is_refused(policy: Any, words: str, config: ExperimentConfig) -> None:
    with pytest.raises(JobError, match=words):
        score(policy, config)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[0.5, a]", "entry 2: 'a': expected a preserve ratio"),
        ("[0.5, true]", "entry 2: True: expected"),
        ("[1.5]", "entry 1: 1.5: expected a preserve ratio from 0 to 1"),
        ("[-0.1]", "entry 1: -0.1: expected"),
        ("[.nan]", "entry 1: nan: expected"),
        ("[]", r"ratios \[\]: expected a list"),
        ("ratios: 0.5", "ratios 0.5: expected a list"),
        ("channels: [0]", "entry 1: 0: expected a whole number"),
        ("channels: [1.5]", "1.5: expected a whole number"),
        ("chanels: [1]", "keys chanels: expected"),
        ("ratios: [1]\nchannels: [1]", "keys ratios, channels: expected"),
        ("0.5", "0.5: expected a list of preserve ratios"),
        ("half", "'half': expected a list"),
        ("", "None: expected a list"),
        ("[", "line 1"),
    ],
)
def test_a_file_that_holds_no_policy_is_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as error:
        scoring.read(path)
    assert "\n" not in str(error.value)
    assert "policy.yaml" in str(error.value)


def test_json_is_read_and_so_are_arrays(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text('{"ratios": [0.5, 1e-1]}')
    assert scoring.read(path) == {"ratios": [0.5, 0.1]}
    assert scoring.checked(list(np.array([0.5, 1.0]))) == {"ratios": [0.5, 1.0]}
