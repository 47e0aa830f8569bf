"""Experiments in words."""

from __future__ import annotations

import dataclasses

from prunebench.envs.tasks.task import TaskConfig
from prunebench.harness.experiments import spoken
from prunebench.harness.experiments.config import ExperimentConfig

CONFIG = ExperimentConfig(task=TaskConfig(model="resnet20"), seeds=1, evaluations=1)


def test_one_experiment() -> None:
    assert spoken.cell(CONFIG) == "resnet20 on digits, preserve 0.5 of macs, split seed 0"
    assert spoken.comparison(CONFIG) == "resnet20 (digits, 50 % of the MACs)"
    assert spoken.efforts([CONFIG]) == ["1 seed of 1 evaluation"]


def test_the_efforts_of_several() -> None:
    more, longer = (dataclasses.replace(CONFIG, seeds=seeds, evaluations=9) for seeds in (4, 2))
    assert spoken.efforts([more, CONFIG, longer]) == ["2 to 4 seeds of 9 evaluations", "1 seed of 1 evaluation"]


def test_names_say_what_tells_experiments_apart() -> None:
    other = dataclasses.replace(CONFIG, reward="accuracy-guaranteed", cost="latency")
    assert spoken.names([CONFIG]) == ["resnet20, 50 % of MACs"]
    assert spoken.names([CONFIG, other]) == [
        "resnet20, 50 % of MACs, reward accuracy",
        "resnet20, 50 % of latency, reward accuracy-guaranteed",
    ]
    assert spoken.names([CONFIG, CONFIG]) == ["resnet20, 50 % of MACs (1)", "resnet20, 50 % of MACs (2)"]
    assert spoken.names([CONFIG, CONFIG], same=True) == ["resnet20, 50 % of MACs"] * 2
