"""Does one run, from its seed to the test accuracy of its incumbent."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.envs.seeding import seed_everything
from prunebench.envs.tasks.preparation import forget_evaluator
from prunebench.harness.experiments import registry
from prunebench.harness.files import free_name
from prunebench.harness.inside.prepare import MakeEnvironment, Report, make_environment, set_threads
from prunebench.harness.inside.recorder import EvaluationsExhausted, Recorder, ReplayMismatch
from prunebench.harness.processes import gpus
from prunebench.harness.record.journal import Journal, Line, candidates, incumbent
from prunebench.harness.record.status import ENDED, Confirmed, Problem, Status, TestScore
from prunebench.harness.record.store import Experiment

if TYPE_CHECKING:
    from prunebench.harness.experiments.config import ExperimentConfig
    from prunebench.harness.record.run_files import Run


def run_one(
    report: Report,
    config: ExperimentConfig,
    agent: str,
    seed: int,
    folder: Path,
    begun: int | None = None,
    environment: MakeEnvironment = make_environment,
) -> None:
    """Do one run, in a process of its own. An agent's error is the run's result, not this function's.

    Args:
        report: is called after every evaluation with the number of evaluations, the incumbent's accuracy or None, and
            how many of the evaluations were an earlier attempt's.
        config: the experiment's configuration.
        agent: the agent's label.
        seed: seeds the agent and the global generators.
        folder: the experiment's folder.
        begun: how often the run had been begun when it was asked for. Where another process has come to an end with it
            since, nothing is done.
        environment: makes the environment.

    Raises:
        BusyError: another process does this run.
        OSError: its files cannot be written.
    """
    run = Experiment(folder, config).run(agent, seed)
    with run.open() as journal:
        found = run.checked()
        faster = begun is not None and found.attempts > begun and found.state in ENDED
        if not journal.damaged and (faster or found.state == "done"):
            return
        status = _begin(run, journal, os.environ.get(gpus.VARIABLE) if config.task.device == "cuda" else None)
        process = os.getpid()
        try:
            set_threads(config.threads)
            search = partial(_search, report, config, run, journal, status, environment)
            recorder = _search_or_start_afresh(search, run, journal, status)
            journal.verify()
            _confirm(config.task.confirm, run, journal.lines, status, recorder)
            _settle(status, recorder, journal.lines)
        except BaseException as error:  # SystemExit too: whatever an agent does is the run's result
            status.state, status.error = "failed", Problem.of(error)
            status.failures += 1
        if os.getpid() != process:
            os._exit(1)  # a copy that the agent made of its process: the run is not the copy's
        run.write_status(status)


def _begin(run: Run, journal: Journal, gpu: str | None) -> Status:
    before = run.mended()
    status = Status(
        status="running",
        attempts=before.attempts + 1,
        gpu=gpu,
        failures=before.failures,
        notices=[*before.notices, *journal.notices],
        nondeterministic=before.nondeterministic,
        confirmed=before.confirmed if journal.lines else [],
    )
    run.write_status(status)
    return status


def _search_or_start_afresh(search: Callable[[], Recorder], run: Run, journal: Journal, status: Status) -> Recorder:
    """Search, replaying what is on disk; where the agent does not repeat itself, once more from nothing."""
    try:
        return search()
    except ReplayMismatch as mismatch:
        aside = free_name(journal.path, "nondeterministic")
        status.nondeterministic.append({"lines": aside.name, "reason": str(mismatch)})
        status.confirmed = []
        run.write_status(status)  # first: a kill in between must not hide it
        journal.set_aside("nondeterministic")
        forget_evaluator()  # its cached weights would flatter the second attempt's times
        return search()


def _search(
    report: Report,
    config: ExperimentConfig,
    run: Run,
    journal: Journal,
    status: Status,
    environment: MakeEnvironment,
) -> Recorder:
    started = time.perf_counter()
    make_agent = registry.factory(config.agent(run.agent))
    env = environment(config)
    seen: list[Line] = []
    replayed = len(journal.lines)

    def watch(line: Line) -> None:
        seen.append(line)
        best = incumbent(seen)
        report(len(seen), best.accuracy if best else None, min(len(seen), replayed))

    seed_everything(run.seed)
    status.seconds["setup"] = time.perf_counter() - started
    recorder = Recorder(env, config.search_evaluations, journal.lines, journal.append, watch)
    agent = make_agent(seed=run.seed)
    with suppress(EvaluationsExhausted):
        agent.search(recorder, config.search_evaluations)
    recorder.finish()
    status.notes = _notes(agent)
    return recorder


def _notes(agent: Any) -> dict[str, Any] | None:
    """The notes that an agent leaves about its search, once it is known that JSON can hold them."""
    notes = getattr(agent, "notes", None)
    if notes is not None and not isinstance(notes, dict):
        raise TypeError(f"the agent's notes are of type {type(notes).__name__}: expected a dict")
    try:
        return json.loads(json.dumps(notes, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise TypeError(f"the agent's notes are no plain values as JSON has: {error}") from error


def _confirm(count: int, run: Run, lines: Sequence[Line], status: Status, recorder: Recorder) -> None:
    """Score the best policies on the confirm split. Each score is on disk before the next is made."""
    best, evaluator = candidates(lines, count), recorder.pruning.evaluator
    if [again.evaluation for again in status.confirmed] != [line.index for line in best[: len(status.confirmed)]]:
        status.confirmed = []
    for line in best[len(status.confirmed) :]:
        before = dict(evaluator.seconds)
        score = evaluator.confirm(tuple(line.channels))
        seconds = {name: now - before[name] for name, now in evaluator.seconds.items()}
        again = Confirmed(evaluation=line.index, **score._asdict(), seconds=seconds)
        status.confirmed = [*status.confirmed, again]
        run.write_status(status)


def _settle(status: Status, recorder: Recorder, lines: Sequence[Line]) -> None:
    """The incumbent, and its score on the test split: the one time that is used."""
    if not lines:
        raise RuntimeError("the agent ended without a single evaluation")
    best = incumbent(lines, status.confirmed)
    if best is not None:
        score = recorder.pruning.evaluator.test(tuple(best.channels))
        status.incumbent, status.test = best.index, TestScore.of(score)
    status.lines = len(lines)
    status.seconds["closing"] = recorder.closing_seconds
    status.state = "done"
