"""Trains a dense network, in a process of its own."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.envs.tasks.task import TaskConfig, check_untrained
from prunebench.harness.dense import trained
from prunebench.harness.dense.train_settings import TrainSettings
from prunebench.harness.dense.trained import Trained
from prunebench.harness.display import watch
from prunebench.harness.experiments import ahead
from prunebench.harness.processes import gpus
from prunebench.harness.processes.local import Job, Processes, cores

if TYPE_CHECKING:
    from prunebench.harness.display import Display

_WORK = "prunebench.harness.inside.train:train_dense"


def train(task: TaskConfig, settings: TrainSettings, out: Path, display: Display) -> Trained:
    """Train a task's network from random weights. The same call again goes on where it stopped.

    Args:
        task: network, data and device; its weights are those to be made.
        settings: the training's.
        out: the checkpoint, which must be new.
        display: shows progress, and says where all was done before.

    Raises:
        HarnessError, TaskError: the user can mend it; no checkpoint was written.
        JobCrash: it failed for another reason.
    """
    settings.check()
    check_untrained(task)
    trained.check_name(out)
    settings = dataclasses.replace(settings, threads=settings.threads or cores())
    assert settings.threads is not None
    shared = gpus.visible() if task.device == "cuda" else []
    with Processes(settings.threads, ahead.modules(), shared) as processes:
        processes.start_up(watch(display))
        now = processes.call(Job("training", _WORK, (task, settings, out)), watch(display))
    if not now:
        display.say(f"{out} was trained before, with these settings: nothing was left to do")
    return trained.read(out)
