"""The main job: prepare a task, run every agent with every seed, and leave an experiment's folder behind."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.harness.display import Display, watch
from prunebench.harness.errors import ConfigError, HarnessError
from prunebench.harness.experiments import ahead, spoken
from prunebench.harness.experiments import config as configs
from prunebench.harness.experiments.execution import DEFAULT, Execution, shared_gpus
from prunebench.harness.files import write_json, write_text
from prunebench.harness.processes.local import Function, Job, JobCrash, Limits, Processes, cores
from prunebench.harness.record import manifest, store
from prunebench.harness.record.incumbents import incumbent
from prunebench.harness.record.status import Latency
from prunebench.harness.record.store import Experiment
from prunebench.harness.running.rounds import Engine, Rounds

if TYPE_CHECKING:
    from prunebench.harness.experiments.config import ExperimentConfig
    from prunebench.harness.record.run_files import Run


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
    execution: Execution = DEFAULT,
    command: str,
    display: Display,
    others: tuple[int, int] = (0, 0),
    adding: bool = False,
    prepare: Function = "prunebench.harness.inside.prepare:prepare",
    run_one: Function = "prunebench.harness.inside.run:run_one",
    measure_latency: Function = "prunebench.harness.inside.latency:measure_latency",
) -> Session:
    """Run what an experiment is still missing.

    Args:
        config: what is wanted.
        folder: of the experiment; made only when everything is known to work.
        execution: how runs are executed.
        command: as it was typed.
        display: shows progress.
        others: how many runs of the same session came before this experiment's, and how many come after.
        adding: whether agents may join the experiment in the folder.
        prepare: runs in a process and returns the task's facts.
        run_one: runs in a process and does one run.
        measure_latency: runs in a process when all runs have ended, and times their incumbents.

    Raises:
        HarnessError, TaskError, BudgetError: the user can mend it; nothing was written.
        JobCrash: the preparation failed for another reason.
    """
    configs.check(config)
    execution.check()
    existing = store.meet(folder, config, adding=adding)
    experiment = existing or Experiment(folder, config)
    session = Session(experiment)
    if set(experiment.config.runs()) > set(config.runs()):
        labels = ", ".join(agent.label for agent in experiment.config.agents)
        display.say(f"this experiment has {labels}, {spoken.seeds(experiment.config)}: all of them are kept")
    config = experiment.config
    missing = [run for run in experiment.runs() if run.checked().state != "done"]
    if missing:
        with (
            store.at_work(folder),
            Processes(config.threads, ahead.modules(config.agents), shared_gpus(config)) as processes,
        ):
            with _engine(execution, processes, config) as engine:  # a cluster's faults show before the work begins
                facts = _prepare(processes, session, prepare, execution.limits(), display)
                if existing is None:
                    experiment = replace(experiment, config=configs.settled(config, facts))
                    session.experiment = experiment
                facts.pop("smallest", None)
                _write_head(experiment, facts, command, execution, adding)
                with store.at_work(folder):  # which there may not have been before
                    _run_all(engine, session, missing, run_one, execution, display, others)
            _measure_latency(processes, session, measure_latency, display)
    elif _unmeasured(experiment):  # the last call was ended before it came to that
        with Processes(config.threads, ahead.modules()) as processes:
            _measure_latency(processes, session, measure_latency, display)
    return session


def _prepare(
    processes: Processes, session: Session, prepare: Function, limits: Limits, display: Display
) -> dict[str, Any]:
    session.seconds["start-up"] = processes.start_up(watch(display))
    started = time.perf_counter()
    memory = Limits(bytes=limits.bytes)  # of its time none: training may take longer than a run
    job = Job("preparation", prepare, (session.experiment.located(), cores()), memory)
    facts = processes.call(job, watch(display, told=True))
    session.seconds["preparation"] = time.perf_counter() - started
    for line in spoken.left_alone(facts):
        display.say(line)
    return facts


def _write_head(
    experiment: Experiment, facts: dict[str, Any], command: str, execution: Execution, adding: bool
) -> None:
    """Write configuration and manifest, or see to it that they still hold. Another harness may do so just now."""
    experiment.folder.mkdir(parents=True, exist_ok=True)
    with store.locked(experiment.folder):
        existing = store.meet(experiment.folder, experiment.config, adding=adding)
        if experiment.manifest_path.exists():
            content = experiment.manifest()
            _check_facts(experiment, content["task"], facts)
        else:
            content = manifest.new(experiment.config, facts)
        first = command if existing is None else configs.read_yaml(experiment.yaml_path)[1]
        config = experiment.config if existing is None else existing.config  # with the runs of whoever wants more
        origin = None if existing is None else existing.origin
        if origin is None and configs.relative_paths(config):
            origin = Path.cwd()
        write_text(experiment.yaml_path, configs.to_yaml(config, first, origin))
        content["sessions"].append(
            manifest.session(experiment.config, command, execution.runs_at_once(config), execution.engine)
        )
        write_json(experiment.manifest_path, content)


def _check_facts(experiment: Experiment, before: dict[str, Any], now: dict[str, Any]) -> None:
    if before.get("method", 1) != now.get("method", 1):
        raise ConfigError(
            f"{str(experiment.folder)!r} was begun by a version of prunebench that scores policies in another way "
            f"(method {before.get('method', 1)}, now {now.get('method', 1)}): name another --out"
        )
    if changed := manifest.differences(before, now, experiment.config.cost):
        raise ConfigError(
            f"the {' and '.join(changed)} of {str(experiment.folder)!r} have changed since it was begun: name another "
            "--out"
        )


def _engine(execution: Execution, processes: Processes, config: ExperimentConfig) -> AbstractContextManager[Engine]:
    """What executes the runs: the processes of this machine, or a cluster."""
    if execution.engine == "local":
        return nullcontext(processes)
    from prunebench.harness.processes.ray_engine import RayProcesses

    return RayProcesses(config.threads, attempts=execution.attempts, gpus=execution.gpus, address=execution.address)


def _run_all(
    engine: Engine,
    session: Session,
    runs: list[Run],
    run_one: Function,
    execution: Execution,
    display: Display,
    others: tuple[int, int],
) -> None:
    started = time.perf_counter()
    experiment, config = session.experiment, session.experiment.located()
    folder = experiment.folder.resolve()

    def job(run: Run) -> Job:
        args = (config, run.agent, run.seed, folder, run.status().attempts)
        return Job(run.name, run_one, args, execution.limits(), run.log_path)

    rounds = Rounds(
        experiment,
        engine,
        job,
        at_once=execution.runs_at_once(config),
        attempts=execution.attempts,
        display=display,
        others=others,
    )
    rounds.do(runs)
    session.failed |= rounds.failed
    session.seconds["runs"] = time.perf_counter() - started
    setups = [s.seconds["setup"] for run in runs if (s := run.status()).state == "done"]
    if setups:
        session.seconds["each run's set-up"] = sum(setups) / len(setups)


def _unmeasured(experiment: Experiment) -> list[Run]:
    """Finished runs whose incumbent's latency is not known."""
    statuses = ((run, run.checked()) for run in experiment.runs())
    return [run for run, s in statuses if s.state == "done" and s.incumbent is not None and s.latency is None]


def _measure_latency(processes: Processes, session: Session, measure: Function, display: Display) -> None:
    with store.locked(session.experiment.folder):  # two harnesses on one folder measure once
        _measure_unmeasured(processes, session, measure, display)


def _measure_unmeasured(processes: Processes, session: Session, measure: Function, display: Display) -> None:
    runs = _unmeasured(session.experiment)
    if not runs or any(run.busy() for run in session.experiment.runs()):  # whoever ends last measures
        return
    started = time.perf_counter()
    policies = [incumbent(run).channels for run in runs]
    try:
        found = processes.call(Job("latency", measure, (session.experiment.located(), policies)), watch(display))
        for run, seconds in zip(runs, found.pop("seconds"), strict=True):
            status = run.status()
            status.latency = Latency(**found, seconds=seconds)
            run.amend_status(status)
    except (HarnessError, JobCrash, OSError) as error:  # the runs are done, and their results stand without it
        session.failed["latency of the incumbents"] = str(error).splitlines()[0]
        return
    session.seconds["latency of the incumbents"] = time.perf_counter() - started
