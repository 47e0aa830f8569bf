"""An experiment whose runs are done: a network with random weights, images of noise. Importable by child processes."""

from __future__ import annotations

import os
import signal
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import numpy as np

from prunebench.envs.progress import silent
from prunebench.envs.tasks.task import TaskConfig
from prunebench.harness.experiments import config as configs
from prunebench.harness.experiments.agentspec import AgentSpec
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.files import write_json, write_text
from prunebench.harness.record import manifest
from prunebench.harness.record.journal import Line
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


SECONDS = dict.fromkeys(("agent", "reconstruction", "forward", "environment"), 0.1)


def weights(path: Path) -> Path:
    import torch
    from randomnets import random_network

    torch.save(random_network("resnet20", classes=CLASSES).state_dict(), path)
    return path


def make(folder: Path, data: Path, checkpoint: Path) -> Experiment:
    """Two agents, two seeds, one evaluation each; the best run is that of random, seed 1, if losses decide."""
    from prunebench.envs.tasks import preparation

    task = TaskConfig("resnet20", str(checkpoint), "imagefolder", str(data), calibration_images=132)
    experiment = Experiment(folder, ExperimentConfig(task=task, agents=AGENTS, evaluations=1, seeds=2))
    facts = preparation.prepare(task, silent)
    write_text(experiment.yaml_path, configs.to_yaml(experiment.config, "made by a test"))
    head = manifest.new(experiment.config, facts) | {"sessions": [manifest.session(experiment.config, "a test", 1)]}
    write_json(experiment.manifest_path, head)
    evaluator = preparation.load_evaluator(task)
    for number, run in enumerate(experiment.runs()):
        counts = [max(1, round(c * (0.4 + 0.1 * number))) for c in evaluator.dense]
        score, test = evaluator.score(counts), evaluator.test(counts)
        macs, parameters = (int(evaluator.costs[name](counts)) for name in ("macs", "parameters"))
        with run.open() as journal:
            journal.append(
                Line(
                    **{"index": 0, "requested": [], "realised": [], "channels": counts, "accuracy": 0.25 + 0.1 * number}
                    | {"loss": score.loss, "reward": 0.0, "macs": macs, "parameters": parameters, "cost": 0.5}
                    | {"feasible": True, "probe": False, "repeat_of": None, "seconds": SECONDS}
                )
            )
            tested = TestScore(accuracy=test.accuracy, loss=test.loss)
            run.write_status(Status(status="done", attempts=1, incumbent=0, test=tested))
    return experiment


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
