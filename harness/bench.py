"""The main job: prepare a task, run every agent with every seed, and leave an experiment's folder behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import config as configs
from harness import manifest, registry, runner, store
from harness.config import ExperimentConfig
from harness.errors import ConfigError, StoreError
from harness.executors import End, Event, Job, JobCrash, JobError, Processes, cores
from harness.progress import Display
from harness.store import Experiment, Run

_HASHES = ("weights_sha256", "network_version", "data_sha256", "latency_sha256")


@dataclass
class Session:
    """What one call of the command did: its seconds, and the runs that it could not finish (name: why)."""

    experiment: Experiment
    seconds: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def bench(
    config: ExperimentConfig,
    folder: Path,
    *,
    jobs: int,
    command: str,
    display: Display,
    others: tuple[int, int] = (0, 0),
    prepare: Callable[..., dict[str, Any]] = runner.prepare,
    run_one: Callable[..., None] = runner.run_one,
    measure_latency: Callable[..., dict[str, Any]] = runner.measure_latency,
) -> Session:
    """Run what an experiment is still missing, and rebuild its tables.

    Args:
        config: what is wanted.
        folder: of the experiment; made only when everything is known to work.
        jobs: runs at a time.
        command: as it was typed.
        display: shows progress.
        others: how many runs of the same session came before this experiment's, and how many come after.
        prepare: runs in a process and returns the task's facts.
        run_one: runs in a process and does one run.
        measure_latency: runs in a process when all runs have ended, and times their incumbents.

    Raises:
        HarnessError, TaskError, BudgetError: the user can mend it; nothing was written.
        JobCrash: the preparation failed for another reason.
    """
    configs.check(config)
    configs.check_count("jobs", jobs)
    existing = store.meet(folder, config)
    experiment = existing or Experiment(folder, config)
    session = Session(experiment)
    if config.seeds < experiment.config.seeds:
        display.say(f"this experiment has {experiment.config.seeds} seeds: all of them are kept")
    missing = [run for run in experiment.runs() if run.status()["status"] != "done"]
    if missing:
        with Processes(config.threads, registry.own_modules(config.agents)) as processes:
            facts = _prepare(processes, session, prepare, display)
            _write_head(experiment, existing is None, facts, command, jobs)
            _run_all(processes, session, missing, run_one, jobs, display, others)
            _measure_latency(processes, session, measure_latency, display)
    elif _unmeasured(experiment):  # the last call was ended before it came to that
        with Processes(config.threads) as processes:
            _measure_latency(processes, session, measure_latency, display)
    from harness import tables  # pandas takes a second: not before the processes are on their way

    tables.write(experiment)
    return session


def _prepare(
    processes: Processes, session: Session, prepare: Callable[..., dict[str, Any]], display: Display
) -> dict[str, Any]:
    display.step("starting", 0, 1)
    session.seconds["start-up"] = processes.start_up()
    display.end("starting")

    def watch(what: str, done: int, total: int) -> None:
        display.step(what, done, total)
        if done >= total:
            display.end(what, f"{what}: done")

    started = time.perf_counter()
    facts = processes.call(Job("preparation", prepare, (session.experiment.config, cores())), watch)
    session.seconds["preparation"] = time.perf_counter() - started
    return facts


def _write_head(experiment: Experiment, new: bool, facts: dict[str, Any], command: str, jobs: int) -> None:
    """Write configuration and manifest, or see to it that they still hold."""
    if experiment.manifest_path.exists():
        content = store.read_json(experiment.manifest_path)
        for key in _HASHES:
            if content["task"].get(key) != facts.get(key):
                what = key.partition("_")[0]
                raise ConfigError(
                    f"the {what} of {str(experiment.folder)!r} have changed since it was begun: name another --out"
                )
    else:
        content = manifest.new(experiment.config, facts)
    first = command if new else configs.read_yaml(experiment.yaml_path)[1]
    store.write_text(experiment.yaml_path, configs.to_yaml(experiment.config, first))
    content["sessions"].append(manifest.session(experiment.config, command, jobs))
    store.write_json(experiment.manifest_path, content)


def _run_all(
    processes: Processes,
    session: Session,
    runs: list[Run],
    run_one: Callable[..., None],
    jobs: int,
    display: Display,
    others: tuple[int, int],
) -> None:
    started = time.perf_counter()
    experiment = session.experiment
    over, total = others[0], sum(others) + len(runs)
    display.overall(over, total)
    by_name = {run.name: run for run in runs}
    todo = [Job(run.name, run_one, (experiment.config, run.agent, run.seed, experiment.folder)) for run in runs]
    for event in processes.run(todo, jobs):
        if isinstance(event, Event):
            done, accuracy, replayed = event.values or (0, None, 0)
            display.step(event.name, done, experiment.config.evaluations, _incumbent(accuracy), replayed)
            continue
        over += 1
        display.overall(over, total)
        problem = _problem(by_name[event.name], event)
        if problem is None:
            display.end(event.name, _summary(by_name[event.name]))
        else:
            session.failed[event.name] = problem
            display.end(event.name, f"{event.name}: failed: {problem}")
    session.seconds["runs"] = time.perf_counter() - started
    setups = [run.status()["seconds"]["setup"] for run in runs if run.status()["status"] == "done"]
    if setups:
        session.seconds["each run's set-up"] = sum(setups) / len(setups)


def _unmeasured(experiment: Experiment) -> list[Run]:
    """Finished runs whose incumbent's latency is not known."""
    statuses = ((run, run.status()) for run in experiment.runs())
    return [run for run, s in statuses if s["status"] == "done" and s["incumbent"] is not None and "latency" not in s]


def _measure_latency(
    processes: Processes, session: Session, measure: Callable[..., dict[str, Any]], display: Display
) -> None:
    runs = _unmeasured(session.experiment)
    if not runs:
        return
    started = time.perf_counter()
    policies = [run.lines()[run.status()["incumbent"]]["channels"] for run in runs]
    try:
        found = processes.call(Job("latency", measure, (session.experiment.config, policies)), display.step)
    except (JobError, JobCrash) as error:  # the runs are done, and their results stand without it
        session.failed["latency of the incumbents"] = str(error).splitlines()[0]
        return
    for run, seconds in zip(runs, found.pop("seconds"), strict=True):
        with run.open():
            run.write_status(run.status() | {"latency": found | {"seconds": seconds}})
    display.end("timing whole networks")
    session.seconds["latency of the incumbents"] = time.perf_counter() - started


def _problem(run: Run, end: End) -> str | None:
    """Why a run is not done, in one line; a process that died could not write that down itself."""
    try:
        status = run.status()
        if end.problem is not None and status["status"] in ("waiting", "running"):
            with run.open():
                run.write_status(status | _died(end.problem, end.details))
    except StoreError as error:
        return end.problem or str(error)
    if end.problem is None and status["status"] == "failed":
        return f"{status['error']['type']}: {status['error']['message']}"
    return end.problem


def _died(problem: str, details: str) -> store.Status:
    """The status of a run whose process did not live to write it."""
    return {"status": "failed", "error": {"type": "ProcessDied", "message": problem, "traceback": details}}


def _summary(run: Run) -> str:
    status, lines = run.status(), run.lines()
    best = None if status["incumbent"] is None else lines[status["incumbent"]]["accuracy"]
    return f"{run.name}: done, evaluations: {len(lines)}, {_incumbent(best)}"


def _incumbent(accuracy: float | None) -> str:
    return "no incumbent yet" if accuracy is None else f"incumbent {100 * accuracy:.2f} %"
