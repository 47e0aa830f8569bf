"""Trains the pruned network that a run ended with on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.envs.evaluation.evaluator import score_batches
from prunebench.envs.tasks import preparation
from prunebench.envs.tasks.task import load_data
from prunebench.envs.weights import export, finetuning, training
from prunebench.harness.errors import ConfigError
from prunebench.harness.inside.prepare import Report, set_threads
from prunebench.harness.inside.rebuilt import rebuilt
from prunebench.harness.record.incumbents import incumbent
from prunebench.harness.record.status import FinetuneStatus, Problem, TestScore
from prunebench.harness.record.store import Experiment

if TYPE_CHECKING:
    from prunebench.harness.experiments.config import ExperimentConfig, FinetuneSettings
    from prunebench.harness.record.run_files import Run


def resolve(report: Report, config: ExperimentConfig, settings: FinetuneSettings) -> dict[str, Any]:
    """All settings as they are recorded.

    Raises:
        ConfigError: the data set is not for training.
    """
    data = load_data(config.task)
    if not data.epochs:
        raise ConfigError(f"dataset {config.task.dataset!r} is not trained on: expected an experiment on another one")
    epochs = settings.epochs or finetuning.default_epochs(data)
    return {
        "epochs": float(epochs),
        "learning_rate": settings.learning_rate,
        "batch_size": training.BATCH,
        "momentum": finetuning.MOMENTUM,
        "weight_decay": finetuning.WEIGHT_DECAY,
        "device": config.task.device,
    }


def prepare_training(report: Report, config: ExperimentConfig) -> None:
    """See to the dense network, its calibration and the training images.

    Raises:
        TaskError: one of them cannot be had.
    """
    data = load_data(config.task)
    data.progress = report
    training.steps_per_epoch(data.train())
    preparation.ensure_prepared(config.task, report)


def finetune_one(
    report: Report, config: ExperimentConfig, folder: Path, agent: str, seed: int, settings: dict[str, Any]
) -> None:
    """Fine-tune one run's incumbent, in a process of its own. What goes wrong is written down, not raised.

    Args:
        report: see :mod:`prunebench.envs.progress`.
        config: the experiment's configuration.
        folder: the experiment's folder.
        agent: the agent's label.
        seed: the run's seed, and that of fine-tuning.
        settings: from :func:`resolve`.

    Raises:
        StoreError: the run is in use by another process, or its files are damaged.
    """
    run = Experiment(folder, config).run(agent, seed)
    with run.open():
        status = _begin(run, settings)
        try:
            _train(report, config, run, status)
            status.state = "done"
        except Exception as error:
            status.state, status.error = "failed", Problem.of(error)
        run.write_finetuned(status)
        if status.state == "done":
            run.finetune_state_path.unlink(missing_ok=True)


def _begin(run: Run, settings: dict[str, Any]) -> FinetuneStatus:
    before, channels = run.finetuned(), incumbent(run).channels
    if before is None or before.changes(settings) or before.channels != channels:
        run.finetune_state_path.unlink(missing_ok=True)
    status = FinetuneStatus(status="running", settings=settings, channels=channels)
    run.write_finetuned(status)
    return status


def _train(report: Report, config: ExperimentConfig, run: Run, status: FinetuneStatus) -> None:
    """Train and save the network, and score it on the test split: the one time that is used."""
    started = time.perf_counter()
    set_threads(config.threads)
    evaluator, data = preparation.load_evaluator(config.task), load_data(config.task)
    model = rebuilt(evaluator, incumbent(run), run.name)
    epochs, rate = status.settings["epochs"], status.settings["learning_rate"]
    layout = evaluator.network.layout
    finetuning.finetune(model, data, run.seed, epochs, rate, run.finetune_state_path, report, layout)
    export.save_weights(model, run.finetuned_weights_path)
    score = score_batches(model, evaluator.test_split())
    status.test = TestScore(accuracy=score.accuracy, loss=score.loss)
    status.seconds = time.perf_counter() - started
