"""After the search: train the pruned networks that the runs ended with on, run by run."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from prunebench.harness.display import watch
from prunebench.harness.errors import ConfigError, check_count
from prunebench.harness.experiments import ahead
from prunebench.harness.experiments.config import DEFAULT_FINETUNING, FinetuneSettings
from prunebench.harness.experiments.execution import shared_gpus
from prunebench.harness.processes.local import End, Event, Function, Job, Processes
from prunebench.harness.record.incumbents import finished
from prunebench.harness.record.status import Problem
from prunebench.harness.running.bench import Session

if TYPE_CHECKING:
    from prunebench.harness.display import Display
    from prunebench.harness.record.run_files import Run
    from prunebench.harness.record.store import Experiment


def finetune(
    experiment: Experiment,
    settings: FinetuneSettings = DEFAULT_FINETUNING,
    *,
    agents: Collection[str] | None = None,
    seeds: Collection[int] | None = None,
    jobs: int,
    display: Display,
    instead: str = "remove runs/*/*/seed-*.finetune*",
    work: Function = "prunebench.harness.inside.finetune:finetune_one",
) -> Session:
    """Fine-tune the incumbent of every finished run that was not fine-tuned yet, or of some of them.

    Args:
        experiment: whose runs.
        settings: must be those of the runs that were fine-tuned before.
        agents: labels of those whose runs are meant; None for all.
        seeds: of the runs that are meant; None for all.
        jobs: runs at a time.
        display: shows progress, and a line per run.
        instead: what the user can do who wants other settings than those before.
        work: runs in a process and fine-tunes one run.

    Returns:
        What was done; ``failed`` names the runs that could not be fine-tuned.

    Raises:
        HarnessError, TaskError: the user can mend it; nothing was written.
        JobCrash: the preparation failed for another reason.
    """
    settings.check()
    check_count("jobs", jobs)
    experiment.check_paths()
    session, runs, config = Session(experiment), finished(experiment, agents, seeds), experiment.located()
    with Processes(config.threads, ahead.modules(), shared_gpus(config)) as processes:
        resolved = processes.call(Job("settings", "prunebench.harness.inside.finetune:resolve", (config, settings)))
        _meet(experiment, finished(experiment), resolved, instead)
        missing = [run for run in runs if (found := run.finetuned()) is None or found.state != "done"]
        display.say(f"fine-tuning {len(missing)} of {len(runs)} finished runs: {_spoken(resolved)}")
        if missing:
            started = time.perf_counter()
            processes.call(
                Job("preparation", "prunebench.harness.inside.finetune:prepare_training", (config,)),
                watch(display),
            )
            session.seconds["preparation"] = time.perf_counter() - started
            _finetune_all(processes, session, missing, resolved, work, jobs, display)
    return session


def _meet(experiment: Experiment, runs: list[Run], settings: dict[str, Any], instead: str) -> None:
    """Raise ConfigError where runs were fine-tuned with other settings; failed ones may be tried again with any."""
    for run in runs:
        before = run.finetuned()
        if before is None or before.state == "failed" or not (changes := before.changes(settings)):
            continue
        raise ConfigError(
            f"runs of {str(experiment.folder)!r} were fine-tuned with other settings ({'; '.join(changes)}): "
            f"name those again, or {instead}"
        )


def _finetune_all(
    processes: Processes,
    session: Session,
    runs: list[Run],
    settings: dict[str, Any],
    work: Function,
    jobs: int,
    display: Display,
) -> None:
    started = time.perf_counter()
    experiment, by_name = session.experiment, {run.name: run for run in runs}
    todo = [Job(r.name, work, (experiment.located(), experiment.folder, r.agent, r.seed, settings)) for r in runs]
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
        return str(status.error) if status.error else None
    if status is not None and status.state == "running":
        status.state = "failed"
        status.error = Problem(type="ProcessDied", message=end.problem, traceback=end.details)
        run.write_finetuned(status)
    return end.problem


def _spoken(settings: dict[str, Any]) -> str:
    return f"{settings['epochs']:g} epochs, learning rate {settings['learning_rate']:g}"


def _summary(run: Run) -> str:
    before, after = run.status(), run.finetuned()
    assert before.test
    assert after
    assert after.test
    return f"{run.name}: test {100 * before.test.accuracy:.2f} % -> {100 * after.test.accuracy:.2f} %"
