"""What becomes of runs whose process dies, whose files are spoiled, or that another process does: no process here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fake
import pytest

from prunebench.harness.display import Lines
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.processes.local import End, Event, Job
from prunebench.harness.record.run_files import Run
from prunebench.harness.record.status import Status
from prunebench.harness.record.store import Experiment
from prunebench.harness.running.rounds import Rounds

DIED = {"problem": "the process was killed by SIGKILL", "cause": "died", "details": "no traceback"}


class Script:
    """An engine that does to a run's files what it is told, and ends the run as it is told."""

    def __init__(self, experiment: Experiment, act: Callable[[Run, int], dict[str, Any]]) -> None:
        self.runs = {run.name: run for run in experiment.runs()}
        self.act, self.begun = act, 0

    def run(self, jobs: list[Job], at_once: int | None) -> Iterator[Event | End]:
        for job in jobs:
            self.begun += 1
            assert self.begun < 20, "begun again without end"
            yield Event(job.name, None)
            yield End(job.name, **self.act(self.runs[job.name], self.begun))


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    return Experiment(tmp_path, ExperimentConfig(agents=("random",), seeds=1, evaluations=3))


def done(experiment: Experiment, act: Callable[[Run, int], dict[str, Any]], attempts: int = 3) -> tuple[Script, Rounds]:
    engine = Script(experiment, act)
    rounds = Rounds(experiment, engine, lambda run: Job(run.name, print), at_once=1, attempts=attempts, display=Lines())
    rounds.do(experiment.runs())
    return engine, rounds


def running(run: Run) -> None:
    status = run.mended()
    status.state = "running"
    run.write_status(status)


def status_of(experiment: Experiment) -> Status:
    return experiment.runs()[0].status()


def spoil(content: str | None) -> Callable[[Run, int], dict[str, Any]]:
    def act(run: Run, begun: int) -> dict[str, Any]:
        if content is None:
            run.status_path.unlink(missing_ok=True)
        else:
            run.folder.mkdir(parents=True, exist_ok=True)
            run.status_path.write_text(content)
        return DIED

    return act


@pytest.mark.parametrize("content", [None, "{", '{"schema": 1}', '{"schema": 99}', "[]", '{"schema": 1, "status": 3}'])
def test_a_run_that_spoils_its_status_and_dies_is_given_up_all_the_same(
    experiment: Experiment, content: str | None
) -> None:
    engine, rounds = done(experiment, spoil(content))
    assert engine.begun == 3
    assert rounds.failed == {"random seed 0": DIED["problem"]}
    found = status_of(experiment)
    assert found.error is not None
    assert (found.state, found.failures, found.error.type) == ("failed", 3, "ProcessDied")
    assert len(list(experiment.runs()[0].folder.glob("*damaged*"))) == (0 if content is None else 3)


def test_failures_of_earlier_commands_count(experiment: Experiment) -> None:
    def act(run: Run, begun: int) -> dict[str, Any]:
        running(run)
        return DIED

    done(experiment, act, attempts=2)
    engine, rounds = done(experiment, act, attempts=3)
    assert engine.begun == 1
    engine, rounds = done(experiment, act, attempts=3)
    assert engine.begun == 0
    assert "--attempts 4 begins it again" in rounds.failed["random seed 0"]


@pytest.mark.parametrize(
    ("error", "failures", "begun"),
    [("TimeLimit", 1, 1), ("ValueError", 1, 1), ("ProcessDied", 3, 1), ("ProcessDied", 1, 2)],
)
def test_what_another_process_came_to_an_end_with_is_not_begun_again(
    experiment: Experiment, error: str, failures: int, begun: int
) -> None:
    def act(run: Run, number: int) -> dict[str, Any]:
        if number == 2:
            running(run)
            fake.amend(run, status="done")
            return {}
        said = {"type": error, "message": "its words", "traceback": ""}
        kind = "timeout" if error == "TimeLimit" else "failed"
        fake.amend(run, status=kind, error=said, failures=failures)
        return {"problem": "busy", "cause": "busy"}

    engine, rounds = done(experiment, act)
    assert engine.begun == begun
    assert rounds.failed == ({f"random seed {0}": f"{error}: its words"} if begun == 1 else {})


def test_what_was_mended_to_write_a_status_is_among_its_notices(experiment: Experiment) -> None:
    def act(run: Run, begun: int) -> dict[str, Any]:
        running(run)
        run.lines_path.write_text('{"torn')
        return DIED

    done(experiment, act, attempts=1)
    assert status_of(experiment).notices == ["a torn line after evaluation 0 was dropped"]
