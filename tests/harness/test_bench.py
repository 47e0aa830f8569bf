"""The whole job with real processes on the toy task: resume, deaths, refusals."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import toy_runs
from toy_runs import without_times

import prunebench
from prunebench.harness.display import Lines
from prunebench.harness.errors import ConfigError, StoreError
from prunebench.harness.experiments import ahead
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.experiments.execution import Execution
from prunebench.harness.files import read_json
from prunebench.harness.processes import local
from prunebench.harness.processes.local import Job, JobCrash, JobError, Processes
from prunebench.harness.record import store
from prunebench.harness.record.run_files import Run
from prunebench.harness.running import bench as benches


@pytest.fixture(autouse=True)
def light_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy needs none of the heavy libraries imported ahead but those of the runner."""
    monkeypatch.setattr(ahead, "modules", lambda *agents: toy_runs.MODULES)


def bench(config: ExperimentConfig, folder: Path, **changes: Any) -> benches.Session:
    settings = {"execution": Execution(2), "command": "as typed", "display": Lines()}
    work = {"prepare": toy_runs.prepare, "run_one": toy_runs.run_one, "measure_latency": toy_runs.measure_latency}
    return benches.bench(config, folder, **(work | settings | changes))


def lines(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {run.name: without_times(run.lines()) for run in store.load(folder).runs()}


def test_runs_resumes_and_grows(config: ExperimentConfig, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    session = bench(config, folder)
    assert not session.failed
    assert {"start-up", "preparation", "runs"} <= set(session.seconds)
    first = lines(folder)
    assert {len(some) for some in first.values()} == {config.evaluations}
    stamp = {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("*") if path.is_file()}

    again = bench(config, folder)
    assert not again.seconds  # nothing was started
    more = bench(dataclasses.replace(config, seeds=3), folder, command="other")
    assert not more.failed
    assert store.load(folder).config.seeds == 3
    assert {path: path.stat().st_mtime_ns for path in stamp} == stamp
    assert len(lines(folder)) == 3
    manifest = read_json(folder / "manifest.json")
    assert [entry["command"] for entry in manifest["sessions"]] == ["as typed", "other"]
    assert (folder / "experiment.yaml").read_text().count("command: as typed") == 1


def test_a_preparation_without_end_is_ended_by_the_memory_limit(config: ExperimentConfig, tmp_path: Path) -> None:
    limited = Execution(2, memory_limit=0.7)
    with pytest.raises(JobError, match=r"^preparation: it used .* of memory, more than its 0\.7 GiB$"):
        bench(config, tmp_path / "x", prepare=toy_runs.greedy_for_memory, execution=limited)
    assert not (tmp_path / "x").exists()


def test_a_killed_process_fails_its_run_alone_and_is_resumed(config: ExperimentConfig, tmp_path: Path) -> None:
    config = dataclasses.replace(config, agents=("dying", "sampler", "failing"), seeds=1)
    folder = tmp_path / "x"
    session = bench(config, folder, execution=Execution(2, attempts=1))
    assert set(session.failed) == {"dying seed 0", "failing seed 0"}
    assert "SIGKILL" in session.failed["dying seed 0"]
    assert "ZeroDivisionError: on purpose" in session.failed["failing seed 0"]
    experiment = store.load(folder)
    dying = experiment.run("dying", 0)
    assert dying.status().state == "failed"
    assert "SIGKILL" in str(dying.status().error)
    assert len(dying.lines()) == 3
    assert experiment.run("sampler", 0).status().state == "done"
    session = bench(config, folder)
    assert set(session.failed) == {"failing seed 0"}
    assert (dying.status().state, dying.status().attempts) == ("done", 2)
    assert lines(folder)["dying seed 0"] == lines(folder)["sampler seed 0"]


def test_nothing_is_left_behind_when_the_preparation_fails(config: ExperimentConfig, tmp_path: Path) -> None:
    folder = tmp_path / "x" / "y"
    with pytest.raises(JobError, match="no such weights"):
        benches.bench(config, folder, command="", display=Lines(), prepare=toy_runs.refusing)
    with pytest.raises(JobCrash, match="ZeroDivisionError"):
        benches.bench(config, folder, command="", display=Lines(), prepare=toy_runs.crashing)
    assert not (tmp_path / "x").exists()


def test_changed_data_are_refused(config: ExperimentConfig, tmp_path: Path) -> None:
    folder = tmp_path / "x"
    bench(config, folder)
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"data_sha256": "d"', '"data_sha256": "e"'))
    with pytest.raises(ConfigError, match=r"data of .* have changed"):
        bench(dataclasses.replace(config, seeds=3), folder)


@pytest.mark.parametrize(
    ("before", "refused"),
    [
        ({"network_sha256": "n", "network_version": "v"}, False),
        ({"network_sha256": "n", "network_version": "of a file with another comment"}, False),
        ({"network_sha256": "m", "network_version": "v"}, True),
        ({"network_version": "v"}, False),  # of an older version, as long as the file is as it was
        ({"network_version": "w"}, True),
        ({"network_sha256": None, "network_version": None}, True),
    ],
)
def test_a_network_that_computes_something_else_is_refused(
    config: ExperimentConfig, tmp_path: Path, before: dict[str, str | None], refused: bool
) -> None:
    experiment, now = store.Experiment(tmp_path, config), {"network_sha256": "n", "network_version": "v"}
    with pytest.raises(ConfigError, match=r"^the network of .* have changed") if refused else contextlib.nullcontext():
        benches._check_facts(experiment, before, now)


def test_an_experiment_that_was_scored_in_another_way_is_not_gone_on_with(
    config: ExperimentConfig, tmp_path: Path
) -> None:
    experiment = store.Experiment(tmp_path, config)
    benches._check_facts(experiment, {"method": 2}, {"method": 2})
    with pytest.raises(ConfigError, match=r"scores policies in another way \(method 1, now 2\): name another --out"):
        benches._check_facts(experiment, {}, {"method": 2})


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="POSIX")
@pytest.mark.parametrize("whole_group", [True, False])
def test_killed_at_any_moment_the_same_command_completes(
    config: ExperimentConfig, tmp_path: Path, whole_group: bool
) -> None:
    config = dataclasses.replace(config, agents=("slow",), evaluations=12)
    undisturbed = tmp_path / "undisturbed"
    bench(config, undisturbed)
    folder = tmp_path / "x"
    process = launch(folder)
    made = store.Experiment(folder, config)
    runs = made.runs()
    until(lambda: all(len(run.lines()) >= 3 for run in runs), process)
    assert (folder / ".work").exists()
    assert made.busy()
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: all(can_open(run) for run in runs), seconds=5)  # no run outlives the command
    assert not made.busy()
    assert all(3 <= len(run.lines()) < 12 for run in runs)
    bench(config, folder)
    assert lines(folder) == lines(undisturbed)


def test_ctrl_c_ends_the_runs_and_is_resumable(config: ExperimentConfig, tmp_path: Path) -> None:
    config = dataclasses.replace(config, agents=("slow",), evaluations=12)
    folder = tmp_path / "x"
    process = launch(folder)
    runs = [store.Experiment(folder, config).run("slow", seed) for seed in range(2)]
    until(lambda: all(len(run.lines()) >= 2 for run in runs), process)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(20) == 130
    assert all(can_open(run) for run in runs)
    assert all(run.status().state == "running" for run in runs)
    assert not bench(config, folder).failed


def launch(folder: Path) -> subprocess.Popen[bytes]:
    """The same bench in a process group of its own."""
    tests = Path(__file__).parents[1]
    paths = os.pathsep.join([str(Path(prunebench.__file__).parents[1]), str(tests)])
    command = [sys.executable, toy_runs.__file__, str(folder)]
    return subprocess.Popen(command, start_new_session=True, env=os.environ | {"PYTHONPATH": paths})


def until(holds: Any, process: subprocess.Popen[bytes] | None = None, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert process is None or process.poll() is None, "the process ended before it was disturbed"
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


def can_open(run: Run) -> bool:
    with contextlib.suppress(StoreError), run.open():
        return True
    return False


def test_results_stand_where_the_latency_of_the_incumbents_cannot_be_measured(
    config: ExperimentConfig, tmp_path: Path
) -> None:
    session = bench(config, tmp_path / "x", measure_latency=toy_runs.crashing)
    assert "ZeroDivisionError" in session.failed["latency of the incumbents"]
    again = bench(config, tmp_path / "x")
    assert not again.failed
    assert set(again.seconds) == {"latency of the incumbents"}


def test_the_modules_to_import_ahead_exist() -> None:
    assert [name for name in ahead.modules() if importlib.util.find_spec(name) is None] == []


def test_processes_run_at_most_so_many_at_once() -> None:
    running, most = set(), 0
    with Processes(1, toy_runs.MODULES) as processes:
        for event in processes.run([Job(str(n), toy_runs.nap) for n in range(5)], 2):
            (running.discard if isinstance(event, local.End) else running.add)(event.name)
            most = max(most, len(running))
    assert most == 2
