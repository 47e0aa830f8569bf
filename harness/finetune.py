"""After the search: train the pruned networks that the runs ended with on, run by run.

``seed-<k>.finetune.json`` holds, besides agent and seed:

status: running (or interrupted), done, failed.
settings: epochs, learning_rate, batch_size, momentum, weight_decay.
channels: of the network that is trained, the incumbent's.
test: accuracy and loss on the test split afterwards, or None.
seconds: of the process that finished it, from the first image to the test split; None before.
error: None, or type, message and traceback.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import config as configs
from harness import runner, store
from harness.bench import Session
from harness.config import ExperimentConfig
from harness.errors import ConfigError
from harness.executors import End, Event, Job, Processes
from harness.incumbents import finished, incumbent, rebuilt
from harness.progress import Display
from harness.runner import Report
from harness.store import Experiment, Run, Status


@dataclass(frozen=True)
class FinetuneSettings:
    """How the networks are trained on.

    Attributes:
        epochs: passes over the training split, fractions allowed; None is a quarter of the dense network's.
        learning_rate: at the beginning.
    """

    epochs: float | None = None
    learning_rate: float = 0.003

    def check(self) -> None:
        """Raise ConfigError unless both are positive numbers."""
        for name, value in (("epochs", self.epochs), ("learning-rate", self.learning_rate)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} {value:g}: expected a positive number")


def resolve(report: Report, config: ExperimentConfig, settings: FinetuneSettings) -> dict[str, Any]:
    """All settings as they are recorded; runs in a process of its own.

    Raises:
        ConfigError: the data set is not for training.
    """
    from envs import datasets, finetuning, training

    data = datasets.load(config.task)
    if not data.epochs:
        raise ConfigError(f"dataset {config.task.dataset!r} is not trained on: expected an experiment on another one")
    epochs = settings.epochs or finetuning.default_epochs(data)
    return {
        "epochs": float(epochs),
        "learning_rate": settings.learning_rate,
        "batch_size": training.BATCH,
        "momentum": finetuning.MOMENTUM,
        "weight_decay": finetuning.WEIGHT_DECAY,
    }


def prepare(report: Report, config: ExperimentConfig) -> None:
    """See to the dense network, its calibration and the training images; runs in a process of its own.

    Raises:
        TaskError: one of them cannot be had.
    """
    from envs import datasets, preparation, training

    data = datasets.load(config.task)
    data.progress = report
    training.steps_per_epoch(data.train())
    preparation.ensure_prepared(config.task, report)


def finetune_one(
    report: Report, config: ExperimentConfig, folder: Path, agent: str, seed: int, settings: dict[str, Any]
) -> None:
    """Fine-tune one run's incumbent, in a process of its own. What goes wrong is written down, not raised.

    Args:
        report: is told what is done, how much of it, and of how much.
        config: of the experiment.
        folder: of the experiment.
        agent: the agent's label.
        seed: of the run, and of fine-tuning.
        settings: from :func:`resolve`.

    Raises:
        StoreError: the run is in use by another process, or its files are damaged.
    """
    run = Experiment(folder, config).run(agent, seed)
    with run.open():
        status = _begin(run, settings)
        try:
            status |= _trained(report, config, run, settings) | {"status": "done"}
        except Exception as error:
            status |= runner.failure(error)
        store.write_json(run.finetune_path, status)
        if status["status"] == "done":
            run.finetune_state_path.unlink(missing_ok=True)


def _begin(run: Run, settings: dict[str, Any]) -> Status:
    before, channels = run.finetuned(), incumbent(run)["channels"]
    if before is None or (before["settings"], before["channels"]) != (settings, channels):
        run.finetune_state_path.unlink(missing_ok=True)
    status = {"agent": run.agent, "seed": run.seed, "status": "running", "settings": settings, "channels": channels}
    status |= {"test": None, "seconds": None, "error": None}
    store.write_json(run.finetune_path, status)
    return status


def _trained(report: Report, config: ExperimentConfig, run: Run, settings: dict[str, Any]) -> Status:
    """Train and save the network, and score it on the test split: the one time that is used."""
    import torch

    from envs import datasets, export, finetuning, preparation
    from envs.evaluator import score_batches

    started = time.perf_counter()
    torch.set_num_threads(config.threads)
    evaluator, data = preparation.load_evaluator(config.task), datasets.load(config.task)
    model = rebuilt(evaluator, incumbent(run), run.name)
    rate = settings["learning_rate"]
    finetuning.finetune(model, data, run.seed, settings["epochs"], rate, run.finetune_state_path, report)
    export.save_weights(model, run.finetuned_weights_path)
    score = score_batches(model, evaluator.test_split())
    return {"test": {"accuracy": score.accuracy, "loss": score.loss}, "seconds": time.perf_counter() - started}


def finetune(
    experiment: Experiment,
    settings: FinetuneSettings = FinetuneSettings(),
    *,
    jobs: int,
    display: Display,
    work: Callable[..., None] = finetune_one,
) -> Session:
    """Fine-tune the incumbent of every finished run that was not fine-tuned yet.

    Args:
        experiment: whose runs.
        settings: must be those of the runs that were fine-tuned before.
        jobs: runs at a time.
        display: shows progress, and a line per run.
        work: runs in a process and fine-tunes one run.

    Returns:
        What was done; ``failed`` names the runs that could not be fine-tuned.

    Raises:
        HarnessError, TaskError: the user can mend it; nothing was written.
        JobCrash: the preparation failed for another reason.
    """
    settings.check()
    configs.check_count("jobs", jobs)
    session, runs = Session(experiment), finished(experiment)
    with Processes(experiment.config.threads) as processes:
        resolved = processes.call(Job("settings", resolve, (experiment.config, settings)))
        _meet(experiment, runs, resolved)
        missing = [run for run in runs if (run.finetuned() or {}).get("status") != "done"]
        display.say(f"fine-tuning {len(missing)} of {len(runs)} finished runs: {_spoken(resolved)}")
        if missing:
            started = time.perf_counter()
            processes.call(Job("preparation", prepare, (experiment.config,)), display.step)
            session.seconds["preparation"] = time.perf_counter() - started
            _finetune_all(processes, session, missing, resolved, work, jobs, display)
    return session


def _meet(experiment: Experiment, runs: list[Run], settings: dict[str, Any]) -> None:
    """Raise ConfigError where runs were fine-tuned with other settings; failed ones may be tried again with any."""
    for run in runs:
        before = run.finetuned()
        if before is None or before["status"] == "failed" or before["settings"] == settings:
            continue
        keys = [key for key in settings if before["settings"].get(key) != settings[key]]
        changes = [f"{key.replace('_', '-')} is {before['settings'].get(key)}, not {settings[key]}" for key in keys]
        raise ConfigError(
            f"runs of {str(experiment.folder)!r} were fine-tuned with other settings ({'; '.join(changes)}): "
            "name those again, or remove runs/*/*/seed-*.finetune*"
        )


def _finetune_all(
    processes: Processes,
    session: Session,
    runs: list[Run],
    settings: dict[str, Any],
    work: Callable[..., None],
    jobs: int,
    display: Display,
) -> None:
    started = time.perf_counter()
    experiment, by_name = session.experiment, {run.name: run for run in runs}
    todo = [Job(r.name, work, (experiment.config, experiment.folder, r.agent, r.seed, settings)) for r in runs]
    for event in processes.run(todo, jobs):
        if isinstance(event, Event):
            _, done, total = event.values or ("", 0, 1)
            display.step(event.name, done, total)
            continue
        problem = _problem(by_name[event.name], event)
        if problem is not None:
            session.failed[event.name] = problem
        display.end(event.name, f"{event.name}: failed: {problem}" if problem else _summary(by_name[event.name]))
    session.seconds["fine-tuning"] = time.perf_counter() - started


def _problem(run: Run, end: End) -> str | None:
    """Why a run was not fine-tuned, in one line; a process that died could not write that down itself."""
    status = run.finetuned()
    if end.problem is None:
        assert status is not None
        error = status["error"]
        return f"{error['type']}: {error['message']}" if error else None
    if status is not None and status["status"] == "running":
        died = {"type": "ProcessDied", "message": end.problem, "traceback": end.details}
        store.write_json(run.finetune_path, status | {"status": "failed", "error": died})
    return end.problem


def _spoken(settings: dict[str, Any]) -> str:
    return f"{settings['epochs']:g} epochs, learning rate {settings['learning_rate']:g}"


def _summary(run: Run) -> str:
    before, after = run.status()["test"], run.finetuned()
    assert after is not None
    return f"{run.name}: test {100 * before['accuracy']:.2f} % -> {100 * after['test']['accuracy']:.2f} %"
