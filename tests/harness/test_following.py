"""Following runs: what is new is shown and written once, whatever is killed, and nothing changes in the experiment."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fake
import pytest

from prunebench.harness import cli
from prunebench.harness.display import Lines
from prunebench.harness.errors import ConfigError
from prunebench.harness.following import follower, tracking, watching
from prunebench.harness.record import store
from prunebench.harness.record.journal import incumbent
from prunebench.harness.record.run_files import Run
from prunebench.harness.record.store import Experiment

AGENTS = ("random", "bo")


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    """Two runs that are done, and two that go on: five of their twelve evaluations are there."""
    made = fake.experiment(tmp_path / "x", 2, agents=AGENTS)
    for seed in range(2):
        cut(made.run("bo", seed), 5)
    return made


def cut(run: Run, count: int) -> None:
    """Take a finished run back to its first evaluations; :func:`go_on` gives back the others."""
    (run.folder / "whole").mkdir(exist_ok=True)
    for path in (run.lines_path, run.status_path):
        (run.folder / "whole" / path.name).write_bytes(path.read_bytes())
    fake.put_lines(run, [json.loads(line) for line in run.lines_path.read_text().splitlines()[:count]])
    fake.amend(run, status="running", incumbent=None, test=None)


def go_on(run: Run) -> None:
    for path in (run.lines_path, run.status_path):
        path.write_bytes((run.folder / "whole" / path.name).read_bytes())


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def accuracies(experiment: Experiment) -> dict[str, list[float]]:
    return {f"x/{run.folder.name}/seed-{run.seed}": [x.accuracy for x in run.lines()] for run in experiment.runs()}


def finals(experiment: Experiment) -> dict[str, float]:
    statuses = {f"x/{run.folder.name}/seed-{run.seed}": run.status() for run in experiment.runs()}
    return {name: status.test.accuracy for name, status in statuses.items() if status.test}


def in_tensorboard(out: Path) -> tuple[dict[str, list[float]], dict[str, float]]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found, last = {}, {}
    for folder in sorted({path.parent for path in out.rglob("events.out.*")}):
        read = accumulator.EventAccumulator(str(folder)).Reload()
        name = folder.relative_to(out).as_posix()
        found[name] = [scalar.value for scalar in read.Scalars("accuracy")]
        assert [scalar.step for scalar in read.Scalars("accuracy")] == list(range(len(found[name])))
        if "test_accuracy" in read.Tags()["scalars"]:
            (scalar,) = read.Scalars("test_accuracy")
            last[name] = scalar.value
    return found, last


def in_mlflow(out: Path) -> tuple[dict[str, list[float]], dict[str, float]]:
    client = pytest.importorskip("mlflow.tracking").MlflowClient(f"sqlite:///{out}/mlflow.db")
    found, last = {}, {}
    for run in client.search_runs([each.experiment_id for each in client.search_experiments()]):
        history = client.get_metric_history(run.info.run_id, "accuracy")
        name = run.data.tags["prunebench.run"]
        found[name] = [metric.value for metric in sorted(history, key=lambda metric: metric.step)]
        if "test_accuracy" in run.data.metrics:
            last[name] = run.data.metrics["test_accuracy"]
    return found, last


def in_optuna(out: Path) -> tuple[dict[str, list[float]], dict[str, float]]:
    import optuna

    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(f"{out}/optuna.log"))
    studies = {
        name: optuna.load_study(study_name=name, storage=storage) for name in optuna.get_all_study_names(storage)
    }
    last = {name: s.user_attrs["test_accuracy"] for name, s in studies.items() if "test_accuracy" in s.user_attrs}
    return {name: [trial.value for trial in study.trials] for name, study in studies.items()}, last


READ = {"tensorboard": in_tensorboard, "mlflow": in_mlflow, "optuna": in_optuna}
TORN = {"tensorboard": "x/bo/seed-0/events.out.*", "optuna": "optuna.log"}


class Stopped(BaseException):
    """The command is ended from outside."""


def once(experiment: Experiment, tool: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Track until there is nothing new, and end that."""

    def stop(seconds: float) -> None:
        raise Stopped

    monkeypatch.setattr(follower.time, "sleep", stop)
    with pytest.raises(Stopped):
        tracking.track([experiment], tool, out, print)


@pytest.mark.parametrize("tool", tracking.TOOLS)
def test_every_evaluation_is_written_once(
    experiment: Experiment, tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip({"mlflow": "mlflow.tracking"}.get(tool, tool))
    out, before = tmp_path / "out", content(experiment.folder)
    once(experiment, tool, out, monkeypatch)
    once(experiment, tool, out, monkeypatch)
    assert content(experiment.folder) == before
    found, last = READ[tool](out)
    assert found == {name: pytest.approx(values) for name, values in accuracies(experiment).items()}
    assert [len(values) for values in found.values() if len(values) == 5] == [5, 5]
    assert last == pytest.approx(finals(experiment))

    if tool in TORN:  # as a process leaves it that is killed while it writes
        (path,) = out.glob(TORN[tool])
        path.write_bytes(path.read_bytes()[:-7])
    for seed in range(2):
        go_on(experiment.run("bo", seed))
    changed = experiment.run("random", 1)  # as one that did not repeat itself, and was begun afresh
    lines = [json.loads(line) for line in changed.lines_path.read_text().splitlines()]
    fake.put_lines(changed, [lines[0] | {"accuracy": 0.125}, *lines[1:]])
    tracking.track([experiment], tool, out, print)
    found, last = READ[tool](out)
    assert found == {name: pytest.approx(values) for name, values in accuracies(experiment).items()}
    assert last == pytest.approx(finals(experiment))
    assert len(last) == 4


def test_optunas_best_trial_is_the_incumbent(experiment: Experiment, tmp_path: Path) -> None:
    import optuna

    run = experiment.run("random", 0)
    lines = [json.loads(line) for line in run.lines_path.read_text().splitlines()]
    worst = next(line for line in lines if not line["feasible"])
    fake.put_lines(run, [line | ({"accuracy": 1.0} if line is worst else {}) for line in lines])
    for seed in range(2):
        go_on(experiment.run("bo", seed))
    tracking.track([experiment], "optuna", tmp_path / "out", print)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(f"{tmp_path}/out/optuna.log"))
    best = optuna.load_study(study_name="x/random/seed-0", storage=storage).best_trial
    line = incumbent(run.lines())
    assert line is not None
    assert best.value == line.accuracy
    assert list(best.params.values()) == line.realised


def test_the_command_may_be_killed_and_started_again(experiment: Experiment, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    command = [sys.executable, "-m", "prunebench", "track", "x", "--to", "tensorboard"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(2)]
        os.kill(process.pid, signal.SIGKILL)
    assert told[0].startswith(f"writing into {tmp_path / 'x-tensorboard'}, to be seen with: tensorboard --logdir")
    assert told[1] == "evaluations written: 34, runs over: 2 of 4\n"
    for seed in range(2):
        go_on(experiment.run("bo", seed))
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[1:] == ["evaluations written: 14, runs over: 4 of 4"]
    found, _ = in_tensorboard(tmp_path / "x-tensorboard")
    assert found == {name: pytest.approx(values) for name, values in accuracies(experiment).items()}


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_what_cannot_be_done_is_said_in_a_line(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, inside = str(experiment.folder), experiment.folder / "points"
    assert "did you mean 'tensorboard'" in refused(capsys, "track", folder, "--to", "tensorbord")
    assert "is inside the experiment" in refused(capsys, "track", folder, "--to", "optuna", "--out", str(inside))
    assert not inside.exists()
    monkeypatch.setitem(sys.modules, "mlflow.entities", None)
    monkeypatch.delitem(sys.modules, "prunebench.harness.following.to_mlflow", raising=False)
    told = refused(capsys, "track", folder, "--to", "mlflow")
    assert told.endswith('is not installed: pip install "prunebench[track]"')
    assert not (tmp_path / "x-mlflow").exists()
    with tracking._alone(tmp_path / "out"), pytest.raises(ConfigError, match="another process writes there"):
        tracking.track([experiment], "optuna", tmp_path / "out", print)


def step_by_step(monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], object]) -> None:
    """Between two looks one of the steps is taken."""
    left = list(steps)
    monkeypatch.setattr(follower.time, "sleep", lambda seconds: left.pop(0)())


def test_show_watch_tells_of_every_end_and_stops_when_all_is_over(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = experiment.run("bo", 0), experiment.run("bo", 1)
    problem = {"type": "ZeroDivisionError", "message": "on purpose"}
    step_by_step(
        monkeypatch,
        lambda: go_on(first),
        lambda: fake.amend(second, status="failed", error=problem),
        lambda: None,  # one more look: it may be begun again
    )
    before = content(experiment.folder)
    with pytest.raises(SystemExit) as end:
        cli.main(["show", str(experiment.folder), "--watch"])
    assert end.value.code == 0
    out, err = capsys.readouterr()
    told = err.splitlines()
    assert told[0] == "2 of 4 runs are over"
    assert re.fullmatch(r"bo seed 0: done, evaluations: 12, incumbent [\d.]+ % \(runs 3/4\)", told[1])
    assert told[2] == "bo seed 1: failed: ZeroDivisionError: on purpose (runs 4/4)"
    assert len(told) == 3
    assert "3 done, 1 failed" in out
    changed = {path for path, data in content(experiment.folder).items() if before.get(path) != data}
    assert changed <= {first.lines_path, first.status_path, second.status_path}


def test_runs_that_nobody_does_are_told_of_and_not_waited_for(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(follower, "PATIENCE", 0.0)
    for command in (["show", str(experiment.folder), "--watch"], ["track", str(experiment.folder), "--to", "optuna"]):
        step_by_step(monkeypatch, lambda: None)
        with pytest.raises(SystemExit) as end:
            cli.main(command)
        assert end.value.code == 1
        assert "nobody is at work on these runs any more, and 2 of 4 are not over" in "".join(capsys.readouterr())


def test_runs_are_waited_for_while_somebody_is_at_work(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "PATIENCE", 0.0)
    step_by_step(
        monkeypatch,
        lambda: None,
        lambda: [go_on(experiment.run("bo", seed)) for seed in range(2)],
        lambda: None,
    )
    with store.at_work(experiment.folder):
        assert watching.watch([experiment], Lines())


def test_a_run_that_is_begun_again_is_waited_for(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = experiment.run("bo", 0), experiment.run("bo", 1)
    go_on(first)
    taken: list[str] = []
    step_by_step(
        monkeypatch,
        lambda: fake.amend(second, status="failed", error={"type": "ProcessDied", "message": "killed"}),
        lambda: fake.amend(second, status="running"),
        lambda: (go_on(second), taken.append("all")),
        lambda: None,
    )
    watching.watch([experiment], Lines())
    assert taken == ["all"]
