"""An experiment whose runs are done: a network with random weights, images of noise. Importable by child processes."""

from __future__ import annotations

import os
import signal
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, cast

import numpy as np

from prunebench.envs.environment.channel_pruning import ChannelPruningEnv
from prunebench.envs.progress import silent
from prunebench.envs.tasks.task import TaskConfig
from prunebench.harness.experiments import config as configs
from prunebench.harness.experiments.agentspec import AgentSpec
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.files import write_json, write_text
from prunebench.harness.record import manifest
from prunebench.harness.record.journal import Line, Seconds
from prunebench.harness.record.status import Status, TestScore
from prunebench.harness.record.store import Experiment

MODULES = (
    "prunebench.harness.inside.run",
    "prunebench.envs.tasks.preparation",
    "prunebench.envs.data.imagefolder",
    "torch._dynamo",
)  # what the children need
AGENTS = (AgentSpec("uniform"), AgentSpec("random"))
SIZE, CLASSES = 16, 4
IMAGES = {"train": 33, "val": 5, "test": 6}  # per class


def stop_server() -> None:
    """Have the next process started from a server with :data:`MODULES`, whatever tests before this one left."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


def images(folder: Path) -> Path:
    """A folder for ``imagefolder``: every class has a colour of its own."""
    from PIL.Image import fromarray

    rng = np.random.default_rng(0)
    for label in range(CLASSES):
        for split, count in IMAGES.items():
            (folder / split / f"class{label}").mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 120, (SIZE, SIZE, 3)) + np.array([40 * label, 90 - 30 * label, 60])
                fromarray(pixels.astype(np.uint8)).save(folder / split / f"class{label}" / f"{number}.png")
    return folder


SECONDS = Seconds(**dict.fromkeys(("agent", "reconstruction", "forward", "environment"), 0.1))


def weights(path: Path) -> Path:
    import torch
    from randomnets import random_network

    torch.save(random_network("resnet20", classes=CLASSES).state_dict(), path)
    return path


def make(folder: Path, data: Path, checkpoint: Path) -> Experiment:
    """Two agents, two seeds, one evaluation each, scored for real; the best run is that of random, seed 1."""
    from prunebench.envs.tasks import preparation
    from prunebench.harness.inside.prepare import make_environment

    task = TaskConfig("resnet20", str(checkpoint), "imagefolder", str(data), calibration_images=132)
    experiment = Experiment(folder, ExperimentConfig(task=task, agents=AGENTS, evaluations=1, seeds=2))
    facts = preparation.prepare(task, silent)
    write_text(experiment.yaml_path, configs.to_yaml(experiment.config, "made by a test"))
    head = manifest.new(experiment.config, facts) | {"sessions": [manifest.session(experiment.config, "a test", 1)]}
    write_json(experiment.manifest_path, head)
    env = cast(ChannelPruningEnv, make_environment(experiment.config).unwrapped)
    rng = np.random.default_rng(0)
    made = [evaluated(env, rng.uniform(0.2, 0.8, facts["layers"])) for _ in experiment.runs()]
    for run, evaluation in zip(experiment.runs(), sorted(made, key=lambda e: (e["accuracy"], -e["loss"])), strict=True):
        with run.open() as journal:
            journal.append(Line(index=0, **evaluation, probe=False, repeat_of=None, seconds=SECONDS))
            tested = TestScore.of(env.evaluator.test(tuple(evaluation["channels"])))
            run.write_status(Status(status="done", attempts=1, lines=1, incumbent=0, test=tested))
    return experiment


def evaluated(env: ChannelPruningEnv, ratios: np.ndarray) -> dict[str, Any]:
    env.reset()
    for ratio in ratios:
        *_, last = env.step(np.array([ratio]))
    return last["evaluation"]


def some_fail(
    report: Any, config: ExperimentConfig, folder: Path, agent: str, seed: int, settings: dict[str, Any]
) -> None:
    """One run's process is killed, another run's fine-tuning fails."""
    from prunebench.harness.inside import finetune

    if (agent, seed) == ("uniform", 0):
        finetune._begin(Experiment(folder, config).run(agent, seed), settings)
        os.kill(os.getpid(), signal.SIGKILL)
    if (agent, seed) == ("uniform", 1):
        settings = settings | {"learning_rate": 1e30}
    finetune.finetune_one(report, config, folder, agent, seed, settings)
