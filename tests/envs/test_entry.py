"""``gymnasium.make`` as people call it: any kind of sequence, wrong names, copies, other processes."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

import prunebench
from prunebench.envs.environment.channel_pruning import ChannelPruningEnv
from prunebench.envs.environment.toy import ToyEvaluator, toy_env
from prunebench.envs.errors import TaskError
from prunebench.envs.tasks.task import TaskConfig, check_task

NAME = "prunebench/ChannelPruning-v0"


@pytest.mark.parametrize(
    "values",
    [[0.5, 0.4, 0.3], (0.5, 0.4, 0.3), np.array([0.5, 0.4, 0.3]), torch.tensor([0.5, 0.4, 0.3], dtype=torch.float64)],
)
def test_sequences_of_any_kind_are_tuples(values: Any) -> None:
    task = TaskConfig(dataset="cifar10", mean=values, std=values)
    assert task == TaskConfig(dataset="cifar10", mean=(0.5, 0.4, 0.3), std=(0.5, 0.4, 0.3))
    assert isinstance(hash(task), int)
    assert [type(value) for value in task.mean or ()] == [float] * 3


def test_paths_names_and_numbers_are_pythons_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    task = TaskConfig(
        weights=Path("w.pt"),
        data="~/images",
        classes=["a", np.str_("b"), 3],
        image_size=np.int64(32),
        tf32=np.bool_(True),
    )  # type: ignore[arg-type]
    assert task == TaskConfig(
        weights="w.pt", data=str(tmp_path / "images"), classes=("a", "b", "3"), image_size=32, tf32=True
    )
    assert (type(task.weights), type(task.image_size), type(task.tf32)) == (str, int, bool)
    assert TaskConfig(weights="~/w.pt").weights == str(tmp_path / "w.pt")
    assert TaskConfig(weights="a~/w.pt").weights == "a~/w.pt"


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"mean": "0.5"}, "mean '0.5': expected three numbers"),
        ({"mean": 0.5}, "mean 0.5: expected three numbers"),
        ({"std": [None, 1, 1]}, "expected three numbers"),
        ({"classes": "cat,dog"}, "classes 'cat,dog': expected a list of names"),
        ({"classes": [0.5]}, "expected a list of names"),
        ({"image_size": 32.0}, "image-size 32.0: expected a whole number"),
        ({"image_size": "32"}, "image-size '32': expected a whole number"),
        ({"split_seed": True}, "split-seed True: expected a whole number"),
        ({"tf32": "no"}, "tf32 'no': expected true or false"),
        ({"weights": 3}, "weights 3: expected a text"),
        ({"model": None}, "model None: expected a text"),
        ({"wieghts": "w.pt"}, "did you mean 'weights'"),
        ({"lowerbound": 0.2}, "did you mean 'lower_bound'"),
        ({"preserve": "0.5"}, "preserve '0.5': expected a fraction"),
        ({"preserve": None}, "preserve None: expected a fraction"),
        ({"lower_bound": True}, "lower_bound True: expected a fraction"),
        ({"round_to": 2.5}, "round_to 2.5: expected a whole number"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_prepared(
    option: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prunebench.envs.tasks.preparation._train", lambda *_: pytest.fail("trained"))
    with pytest.raises(ValueError, match=words) as caught:
        gymnasium.make(NAME, **{"preserve": 0.5, **option})
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="is a folder, expected a file"):
        check_task(TaskConfig(weights=str(tmp_path)))


@pytest.mark.parametrize(
    "options",
    [{"buget": "none"}, {"budget": "no"}, {"budget": None}, {"budget": "none", "seed": 1}, "none", ["none"], 3],
)
def test_options_of_reset_that_mean_nothing_are_refused(options: Any) -> None:
    env = toy_env()
    with pytest.raises(ValueError, match=r"reset's options .*expected \{'budget': 'none'\}"):
        env.reset(options=options)
    env.reset(options={})
    assert not env.probe
    env.reset(options={"budget": "none"})
    assert env.probe


def play(env: gymnasium.Env[Any, Any], ratios: list[float]) -> Any:
    for ratio in ratios:
        *_, info = env.step(np.array([ratio], dtype=np.float32))
    return info["evaluation"]


@pytest.fixture
def arguments(checkpoint: Callable[[str], str]) -> dict[str, Any]:
    return {"model": "resnet20", "weights": checkpoint("resnet20"), "reward_images": 20, "calibration_images": 20}


@pytest.mark.parametrize("again", [lambda env: pickle.loads(pickle.dumps(env)), copy.deepcopy])
@pytest.mark.parametrize("toy", [True, False])
def test_environments_can_be_copied_in_the_middle_of_an_episode(
    toy: bool, again: Callable[[Any], Any], arguments: dict[str, Any]
) -> None:
    env: gymnasium.Env[Any, Any] = (
        ChannelPruningEnv(ToyEvaluator(9), budget="project") if toy else gymnasium.make(NAME, preserve=0.6, **arguments)
    )
    env.reset(seed=5, options={"budget": "none"})
    env.step(np.array([0.9], dtype=np.float32))
    other = again(env)
    assert other.unwrapped.spec == env.unwrapped.spec
    assert play(other, [0.7] * 8) == play(env, [0.7] * 8)
    assert other.unwrapped.memory.keys() == env.unwrapped.memory.keys()  # type: ignore[attr-defined]
    assert other.unwrapped.np_random.random() == env.unwrapped.np_random.random()


FORKING = """
import functools, sys
import gymnasium, numpy as np, torch
import prunebench.envs

torch.set_num_threads(2)
make = functools.partial(
    gymnasium.make, "prunebench/ChannelPruning-v0", preserve=0.6, model="resnet20", weights=sys.argv[1],
    reward_images=40, calibration_images=40,
)
env = make()
env.reset()
for _ in range(9):
    *_, info = env.step(np.array([0.5], dtype=np.float32))
with_threads = info["evaluation"]["accuracy"]
many = gymnasium.vector.AsyncVectorEnv([make, make])
try:
    many.reset()
    for _ in range(9):
        many.step_async(np.full((2, 1), 0.5, dtype=np.float32))
        *_, infos = many.step_wait(timeout=60)
    print(with_threads, *infos["evaluation"]["accuracy"])
finally:
    many.close(terminate=True)
"""


def test_environments_in_forked_processes(checkpoint: Callable[[str], str]) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(prunebench.__file__).parents[1]), "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", FORKING, checkpoint("resnet20")]
    found = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment, check=False)
    assert found.returncode == 0, found.stderr
    alone, *forked = map(float, found.stdout.split())
    assert forked == pytest.approx([alone] * 2, abs=0.03)
