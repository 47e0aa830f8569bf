"""One run, in this process: status, replay, failures."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import fake
import numpy as np
import pytest
import toy_runs
from toy_runs import environment, without_times

from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.inside.run import run_one
from prunebench.harness.record.journal import incumbent, read
from prunebench.harness.record.run_files import Run
from prunebench.harness.record.store import Experiment


def do(config: ExperimentConfig, folder: Path, agent: str = "sampler", seed: int = 0) -> Run:
    heard: list[Any] = []
    config = dataclasses.replace(config, agents=(agent,))
    run_one(lambda *values: heard.append(values), config, agent, seed, folder, environment=environment)
    run = Experiment(folder, config).run(agent, seed)
    assert [done for done, *_ in heard][-len(run.lines()) or len(heard) :] == list(range(1, len(run.lines()) + 1))
    return run


def test_a_run_ends_with_its_incumbent_on_the_test_split(config: ExperimentConfig, tmp_path: Path) -> None:
    run = do(config, tmp_path)
    status, lines = run.status(), run.lines()
    best = incumbent(lines)
    assert best is not None
    assert (status.state, status.attempts, status.error, status.nondeterministic) == ("done", 1, None, [])
    assert len(lines) == config.evaluations
    assert best.accuracy == max(line.accuracy for line in lines if line.feasible)
    assert status.incumbent == best.index
    assert status.test is not None
    assert status.test.accuracy == best.accuracy / 2
    assert run.lines_path == tmp_path / "runs" / config.task.model / "sampler" / "seed-0.jsonl"


def test_an_agent_cannot_overspend(config: ExperimentConfig, tmp_path: Path) -> None:
    run = do(config, tmp_path, "overspender")
    assert run.status().state == "done"
    assert len(run.lines()) == config.evaluations


@pytest.mark.parametrize("agent", ["sampler", "global"])
def test_the_same_seed_gives_the_same_lines(config: ExperimentConfig, tmp_path: Path, agent: str) -> None:
    first = do(config, tmp_path / "a", agent, 3)
    np.random.rand()
    second = do(config, tmp_path / "b", agent, 3)
    assert without_times(first.lines()) == without_times(second.lines())
    other = do(config, tmp_path / "c", agent, 4)
    assert without_times(first.lines()) != without_times(other.lines())


@pytest.mark.parametrize("kept", range(7))
@pytest.mark.parametrize("agent", ["sampler", "global"])
def test_resuming_after_any_line_gives_the_undisturbed_run(
    config: ExperimentConfig, tmp_path: Path, agent: str, kept: int
) -> None:
    run = do(config, tmp_path, agent)
    whole = run.lines()
    texts = run.lines_path.read_bytes().splitlines(keepends=True)
    run.lines_path.write_bytes(b"".join(texts[:kept]) + (texts[kept][:17] if kept < len(texts) else b""))
    fake.amend(run, status="running")
    again = do(config, tmp_path, agent)
    assert without_times(again.lines()) == without_times(whole)
    assert again.lines()[:kept] == whole[:kept]  # with their times
    assert (again.status().state, again.status().attempts) == ("done", 2)


def test_what_another_process_has_done_is_left_alone(config: ExperimentConfig, tmp_path: Path) -> None:
    run = do(config, tmp_path)
    before = {path: path.read_bytes() for path in run.folder.iterdir()}
    run_one(
        lambda *_: None,
        dataclasses.replace(config, agents=("sampler",)),
        "sampler",
        0,
        tmp_path,
        environment=environment,
    )
    assert {path: path.read_bytes() for path in run.folder.iterdir()} == before


@pytest.mark.parametrize("lines_too", [True, False])
def test_damaged_files_are_kept_and_the_run_begun_afresh(
    config: ExperimentConfig, tmp_path: Path, lines_too: bool
) -> None:
    run = do(config, tmp_path)
    whole = run.lines()
    damaged = run.lines_path if lines_too else run.status_path
    damaged.write_text("{}\n" + damaged.read_text())
    assert run.checked().state == "damaged"
    again = do(config, tmp_path)
    assert without_times(again.lines()) == without_times(whole)
    status = again.checked()
    assert status.state == "done"
    [notice] = status.notices
    assert f"kept as seed-0.damaged-1{damaged.suffix}" in notice
    assert (run.folder / f"seed-0.damaged-1{damaged.suffix}").read_text().startswith("{}\n")


def test_lost_lines_of_a_finished_run_are_noticed(config: ExperimentConfig, tmp_path: Path) -> None:
    run = do(config, tmp_path)
    run.lines_path.write_bytes(b"".join(run.lines_path.read_bytes().splitlines(keepends=True)[:-1]))
    status = run.checked()
    assert status.state == "damaged"
    assert "5 lines, expected 6" in str(status.error)


def test_what_is_replayed_is_reported_as_such(config: ExperimentConfig, tmp_path: Path) -> None:
    run = do(config, tmp_path)
    run.lines_path.write_bytes(b"".join(run.lines_path.read_bytes().splitlines(keepends=True)[:4]))
    fake.amend(run, status="running")
    heard: list[Any] = []
    config = dataclasses.replace(config, agents=("sampler",))
    run_one(lambda *values: heard.append(values), config, "sampler", 0, tmp_path, environment=environment)
    assert [(done, replayed) for done, _, replayed in heard] == [(n, min(n, 4)) for n in range(1, 7)]


def test_an_agent_that_does_not_repeat_itself_is_noted_and_begun_afresh(
    config: ExperimentConfig, tmp_path: Path
) -> None:
    run = do(config, tmp_path, "capricious")
    old = run.lines()
    fake.amend(run, status="running")
    again = do(config, tmp_path, "capricious")
    status = again.status()
    assert status.state == "done"
    [note] = status.nondeterministic
    aside = again.folder / note["lines"]
    assert read(aside) == old
    assert len(again.lines()) == config.evaluations
    assert without_times(again.lines()) != without_times(old)


def test_a_failing_agent_leaves_its_traceback(config: ExperimentConfig, tmp_path: Path) -> None:
    run = do(config, tmp_path, "failing")
    status = run.status()
    assert status.state == "failed"
    assert status.error is not None
    assert (status.error.type, status.error.message) == ("ZeroDivisionError", "on purpose")
    assert "toy_runs.py" in status.error.traceback
    assert len(run.lines()) == 2
    assert status.test is None


def test_a_run_without_an_evaluation_is_a_failure(config: ExperimentConfig, tmp_path: Path) -> None:
    run = do(config, tmp_path, "idle")
    assert run.status().state == "failed"
    assert "without a single evaluation" in str(run.status().error)


def test_the_status_says_running_while_it_runs(
    config: ExperimentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Experiment(tmp_path, config).run("sampler", 0)
    seen: list[str] = []
    before = toy_runs.Sampler.policy

    def policy(self: Any, number: int) -> Any:
        seen.append(run.status().state)
        assert len(run.lines()) == number  # what the agent was told is on disk
        return before(self, number)

    monkeypatch.setattr(toy_runs.Sampler, "policy", policy)
    do(config, tmp_path)
    assert seen == ["running"] * config.evaluations


def test_an_agent_is_made_with_its_options_and_its_notes_are_kept(config: ExperimentConfig, tmp_path: Path) -> None:
    run = do(config, tmp_path, "noting:factor=0.5")
    assert run.status().notes == {"factor": 0.5, "evaluations": 6}
    assert run.lines_path.parent.name == "noting@factor=0.5"
    assert do(config, tmp_path).status().notes is None


def test_notes_that_json_does_not_have_fail_the_run(config: ExperimentConfig, tmp_path: Path) -> None:
    run = do(config, tmp_path, "noting:factor=nan")
    assert run.status().state == "failed"
    assert str(run.status().error).startswith("TypeError: ")
    assert "the agent's notes" in str(run.status().error)
    assert len(run.lines()) == config.evaluations
