"""Runs on Ray: the same lines as on this machine's engine, whatever dies; nothing listens or is left behind."""

from __future__ import annotations

import importlib.util
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import toy_runs

from prunebench.envs import extras
from prunebench.envs.errors import TaskError
from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.experiments.execution import Execution
from prunebench.harness.processes import ray_cluster, ray_engine
from prunebench.harness.processes.local import End, Event, Job, Limits, Processes
from prunebench.harness.processes.ray_engine import RayProcesses
from prunebench.harness.record import store
from prunebench.harness.record.run_files import Run

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra 'ray' is not installed")
Outcome = dict[str, End]


@pytest.fixture(scope="module")
def engine() -> Iterator[RayProcesses]:
    """For all tests from the first that wants it on; a process can be connected to one cluster only."""
    with RayProcesses(1, attempts=2) as processes:
        yield processes


@pytest.fixture
def slow() -> ExperimentConfig:
    return ExperimentConfig(agents=("slow",), evaluations=15, seeds=2)


def jobs(config: ExperimentConfig, folder: Path) -> list[Job]:
    return [
        Job(run.name, toy_runs.run_one, (config, run.agent, run.seed, folder), log=run.log_path)
        for run in store.Experiment(folder, config).runs()
    ]


def lines(config: ExperimentConfig, folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {run.name: toy_runs.without_times(run.lines()) for run in store.Experiment(folder, config).runs()}


def locally(config: ExperimentConfig, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The lines of this machine's engine."""
    with Processes(1, toy_runs.MODULES) as processes:
        ends(processes.run(jobs(config, folder), 2))
    return lines(config, folder)


def ends(events: Iterator[Event | End], watch: Callable[[], Any] = lambda: None) -> Outcome:
    found: Outcome = {}
    for event in events:
        if isinstance(event, End):
            found[event.name] = event
        watch()
    return found


class Disturber:
    """Kills, once, a process that has to do with a run that has come to its third evaluation."""

    def __init__(self, run: Run, whose: Callable[[psutil.Process], psutil.Process]) -> None:
        self.run, self.whose, self.done = run, whose, False

    def __call__(self) -> None:
        if not self.done and len(self.run.lines()) >= 3 and (process := holder(self.run)):
            self.whose(process).kill()
            self.done = True


def holder(run: Run) -> psutil.Process | None:
    """The process that does a run, if one does: it has its lines open."""
    path = str(run.lines_path.resolve())
    for process in psutil.Process().children(recursive=True):
        try:
            if path in [file.path for file in process.open_files()]:
                return process
        except psutil.Error:
            continue
    return None


def ray_worker(process: psutil.Process) -> psutil.Process:
    """The Ray worker above a job's process."""
    return next(parent for parent in process.parents() if parent.name().startswith("ray::"))


def only(name: str, function: Callable[..., Any], *args: Any, **settings: Any) -> list[Job]:
    return [Job(name, function, args, **settings)]


@needs_ray
@pytest.mark.slow
def test_two_nodes_do_an_experiment_while_a_worker_is_killed(
    slow: ExperimentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with two_nodes(tmp_path, monkeypatch) as (address, raylets):
        run = store.Experiment(tmp_path / "ray", slow).run("slow", 0)
        seen: set[int] = set()

        def watch() -> None:
            for each in store.Experiment(tmp_path / "ray", slow).runs():
                if process := holder(each):
                    seen.update(parent.pid for parent in process.parents())
            disturber()

        disturber = Disturber(run, ray_worker)
        with RayProcesses(1, attempts=3, address=address) as processes:
            found = ends(processes.run(jobs(slow, tmp_path / "ray")), watch)
        assert disturber.done
        assert raylets <= seen  # both nodes had something to do
    assert [end.problem for end in found.values()] == [None, None]
    assert lines(slow, tmp_path / "ray") == locally(slow, tmp_path / "local")


@needs_ray
@pytest.mark.slow
def test_a_cluster_without_authentication_or_with_another_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "127.0.0.1:1"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "mine")
    with (
        pytest.raises(ConfigError, match=r"127\.0\.0\.1:1': no cluster answers there"),
        RayProcesses(1, address=address),
    ):
        pass
    monkeypatch.setattr(ray_cluster.socket, "create_connection", lambda *_: socket.socket())
    monkeypatch.setattr(ray_cluster, "_ask", lambda address, **changes: "answered")
    with pytest.raises(ConfigError, match="asks for no token"), RayProcesses(1, address=address):
        pass
    monkeypatch.setattr(ray_cluster, "_ask", lambda address, **changes: "refused")
    with pytest.raises(ConfigError, match="refuses this token"), RayProcesses(1, address=address):
        pass


@needs_ray
@pytest.mark.slow
def test_the_lines_are_those_of_the_local_engine(
    engine: RayProcesses, config: ExperimentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[Event] = []
    found: Outcome = {}
    for event in engine.run(jobs(config, tmp_path / "ray"), 2):
        if isinstance(event, End):
            found[event.name] = event
        else:
            reports.append(event)
    assert [end.problem for end in found.values()] == [None, None]
    assert lines(config, tmp_path / "ray") == locally(config, tmp_path / "local")
    for name in found:
        values = [event.values for event in reports if event.name == name]
        assert values[0] is None  # it began
        assert [some[0] for some in values[1:] if some] == list(range(1, config.evaluations + 1))


@needs_ray
@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_nothing_is_lost_or_doubled(
    engine: RayProcesses, slow: ExperimentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.Experiment(tmp_path / "ray", slow).run("slow", 0)
    disturber = Disturber(run, ray_worker)
    found = ends(engine.run(jobs(slow, tmp_path / "ray")), disturber)
    assert disturber.done
    assert [end.problem for end in found.values()] == [None, None]
    assert run.status().attempts == 2
    assert lines(slow, tmp_path / "ray") == locally(slow, tmp_path / "local")


@needs_ray
@pytest.mark.slow
def test_a_killed_process_is_reported_and_the_run_goes_on_when_it_is_begun_again(
    engine: RayProcesses, slow: ExperimentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.Experiment(tmp_path / "ray", slow).run("slow", 1)
    found = ends(engine.run(jobs(slow, tmp_path / "ray"), 2), Disturber(run, lambda process: process))
    assert found[run.name].cause == "died"
    assert "SIGKILL" in str(found[run.name].problem)
    assert found["slow seed 0"].problem is None
    assert 3 <= len(run.lines()) < slow.evaluations
    assert ends(engine.run(jobs(slow, tmp_path / "ray")[1:]))[run.name].problem is None
    assert lines(slow, tmp_path / "ray") == locally(slow, tmp_path / "local")


@needs_ray
@pytest.mark.slow
def test_failures_have_reason_and_traceback(engine: RayProcesses, tmp_path: Path) -> None:
    config = ExperimentConfig(agents=("failing",), evaluations=5, seeds=1)
    todo = [
        *jobs(config, tmp_path),
        *only("crash", toy_runs.crashing, None),
        *only("refuse", toy_runs.refusing, None, 1),
        *only("hang", hang, limits=Limits(seconds=1)),
        *only("talk", talk, log=tmp_path / "talk.log"),
    ]
    found = ends(engine.run(todo))
    assert found["failing seed 0"].problem is None  # an agent's error is the run's result
    status = store.Experiment(tmp_path, config).run("failing", 0).status()
    assert status.error is not None
    assert status.error.type == "ZeroDivisionError"
    assert "toy_runs.py" in status.error.traceback
    assert found["crash"].cause == "error"
    assert "in crashing" in found["crash"].details
    assert (found["refuse"].cause, found["refuse"].problem) == ("user", "no such weights")
    assert (found["hang"].cause, found["hang"].problem) == ("time", "it took longer than the limit of 1 s")
    assert (tmp_path / "talk.log").read_text() == "1 1\n"
    assert found["talk"].value == str(Path.cwd())


@needs_ray
@pytest.mark.slow
def test_what_kills_its_worker_every_time_is_given_up(engine: RayProcesses, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    end = ends(engine.run(only("poison", poison, marks)))["poison"]
    assert end.cause == "error"
    assert "attempts: 2" in str(end.problem)
    assert marks.read_text() == "xx"


@needs_ray
@pytest.mark.slow
def test_only_so_many_at_once(engine: RayProcesses) -> None:
    running, most = set(), 0
    for event in engine.run([Job(str(n), toy_runs.nap) for n in range(3)], 1):
        (running.discard if isinstance(event, End) else running.add)(event.name)
        most = max(most, len(running))
    assert most == 1


@needs_ray
@pytest.mark.slow
def test_nothing_listens_beyond_this_machine_and_without_the_token_nobody_is_served(engine: RayProcesses) -> None:
    ours = {process.pid for process in psutil.Process().children(recursive=True)} | {os.getpid()}
    listening = {c.laddr.ip for c in psutil.net_connections("inet") if c.status == "LISTEN" and c.pid in ours}
    assert listening
    assert listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    address = engine._ray.get_runtime_context().gcs_address
    assert ray_cluster._ask(address, RAY_AUTH_MODE="disabled") == "refused"
    assert ray_cluster._ask(address, RAY_AUTH_TOKEN="guessed") == "refused"
    token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
    assert (token.stat().st_mode & 0o777, token.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left_when_the_driver_ends(
    slow: ExperimentConfig, tmp_path: Path, ending: signal.Signals
) -> None:
    command = [sys.executable, "-c", "import test_ray_engine; test_ray_engine.drive()", str(tmp_path / "x")]
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path[1:]])
    driver = subprocess.Popen(command, start_new_session=True, env=os.environ | {"PYTHONPATH": paths})
    runs = store.Experiment(tmp_path / "x", slow).runs()
    deadline = time.monotonic() + 120
    while not all(len(run.lines()) >= 2 for run in runs):
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    family = psutil.Process(driver.pid).children(recursive=True)
    assert len(family) > 5
    (os.killpg if ending == signal.SIGINT else os.kill)(driver.pid, ending)
    driver.wait(60)
    _, left = psutil.wait_procs(family, timeout=90)  # two agents of Ray's take a minute
    assert [process.cmdline() for process in left] == []
    assert not any(run.busy() for run in runs)
    folder = Path((tmp_path / "token").read_text()).parent
    assert folder.exists() == (ending == signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def test_a_job_may_be_sent_by_name() -> None:
    assert ray_engine._unpacked("a", pickle.dumps(("posixpath:join", ("b",)))) == "a/b"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"gpus": 1.5}, "gpus 1.5: expected a fraction of one, or a whole number"),
        ({"gpus": -1.0}, "gpus -1"),
        ({"address": "ray://head:10001"}, "expected host:port"),
        ({"address": "head"}, "expected host:port"),
        ({"address": "head:6379"}, "no token: RAY_AUTH_TOKEN_PATH has to name the file"),
    ],
)
def test_wrong_settings_are_one_line(
    settings: dict[str, Any], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.setattr(extras, "installed", lambda module: True)
    with pytest.raises(ConfigError) as caught:
        Execution(engine="ray", **settings).check()
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "installed", lambda module: False)
    with pytest.raises(
        TaskError, match=r'^engine .ray. needs ray, which is not installed: pip install "prunebench\[ray\]"$'
    ):
        RayProcesses(1)


@contextmanager
def two_nodes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, set[int]]]:
    """A cluster of two nodes on this machine, one CPU each: its address, and the processes that are its nodes."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", ray_cluster._token())  # Ray reads it once in a process
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory(prefix="pb-ray-", dir="/tmp") as temporary:
        monkeypatch.setenv("RAY_TMPDIR", temporary)  # where it writes the address of the last cluster
        (Path(temporary) / "ray").mkdir()
        node = {"num_cpus": 1, "include_dashboard": False, "node_ip_address": "127.0.0.1", "temp_dir": temporary}
        cluster = Cluster(initialize_head=True, head_node_args=node)
        try:
            nodes = [cluster.head_node, cluster.add_node(**node)]
            yield cluster.address, {each.all_processes["raylet"][0].process.pid for each in nodes}
        finally:
            cluster.shutdown()


def hang(report: Any) -> None:
    time.sleep(600)


def talk(report: Any) -> str:
    print(os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"])
    return os.getcwd()


def poison(report: Any, marks: Path) -> None:
    with marks.open("a") as file:
        file.write("x")
    ray_worker(psutil.Process()).kill()
    time.sleep(600)


def drive() -> None:
    """A driver, in a process of its own, to be ended."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(sys.argv[1])
    with RayProcesses(1) as processes:
        (folder.parent / "token").write_text(os.environ["RAY_AUTH_TOKEN_PATH"])
        todo = jobs(ExperimentConfig(agents=("slow",), evaluations=1000, seeds=2), folder)
        ends(processes.run(todo))
