"""Checking an experiment's results: an untouched one has no findings, and what was altered is named."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake
import finished_runs
import pytest
import torch

from prunebench.envs.environment.hits import packed, unpacked
from prunebench.envs.errors import TaskError
from prunebench.envs.progress import silent
from prunebench.harness import api, cli
from prunebench.harness.display import Lines
from prunebench.harness.errors import ConfigError, HarnessError
from prunebench.harness.processes import child
from prunebench.harness.processes.local import Job
from prunebench.harness.record import store
from prunebench.harness.record.store import Experiment
from prunebench.harness.report import recomputed
from prunebench.harness.report.tables import table_list
from prunebench.harness.running import verify as verifying
from prunebench.harness.running.verify import Verified, verify

IMAGES = finished_runs.CLASSES * finished_runs.IMAGES["test"]


@pytest.fixture(scope="module")
def with_tables(finished: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reported") / "x"
    shutil.copytree(finished.folder, folder)
    table_list.rebuild(folder)
    return folder


@pytest.fixture
def reported(with_tables: Path, tmp_path: Path) -> Experiment:
    """A finished experiment with its tables, to be changed."""
    shutil.copytree(with_tables, tmp_path / "x")
    return store.load(tmp_path / "x")


class Here:
    """Does in this process what is done in one of its own: many checks of one small network."""

    def __init__(self, *settings: Any) -> None:
        pass

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *problem: object) -> None:
        pass

    def start_up(self, watch: Callable[..., None]) -> None:
        pass

    def call(self, job: Job, watch: Callable[..., None]) -> Any:
        return child.resolved(job.function)(silent, *job.args)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "Processes", Here)


def check(experiment: Experiment, **places: Any) -> Verified:
    return verify(store.load(experiment.folder), tables=recomputed.compare, display=Lines(), **places)


def put(path: Path, **changes: Callable[[Any], Any]) -> None:
    """Put other values into a file of one JSON object; ``a__b`` is an entry of an entry."""
    content = json.loads(path.read_text())
    for keys, change in changes.items():
        *outer, last = keys.split("__")
        place = content
        for key in outer:
            place = place[key]
        place[last] = change(place[last])
    path.write_text(json.dumps(content) + "\n")


def fewer(channels: list[int]) -> list[int]:
    """One channel fewer, in the fourth layer."""
    return [*channels[:3], channels[3] - 1, *channels[4:]]


def named(found: Verified) -> set[tuple[str, str]]:
    """File and field of every finding that is not about a table."""
    told = [finding for finding in found.findings if finding.file.parent.name != "tables"]
    return {(f"{finding.file.parent.name}/{finding.file.name}", finding.field) for finding in told}


def run_command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code


def test_the_command_finds_nothing_in_what_is_untouched_and_names_a_digit(
    reported: Experiment, finished_runs_server: None, capfd: pytest.CaptureFixture[str]
) -> None:
    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in reported.folder.rglob("*") if path.is_file()}

    before = files()
    assert run_command("verify", str(reported.folder)) == 0
    (line,) = capfd.readouterr().out.splitlines()
    told = "no findings; 4 policies realised and 4 incumbents scored again, 26 files of tables made again; most losses"
    assert line.startswith(f"{reported.folder}: {told}")
    assert files() == before

    status = reported.run("random", 1).status_path
    put(status, test__accuracy=lambda accuracy: accuracy + 1 / IMAGES)
    before = files()
    assert run_command("verify", str(reported.folder)) == 1
    told = capfd.readouterr().out.splitlines()
    accuracy = json.loads(status.read_text())["test"]["accuracy"]
    assert f"{status}: test.accuracy: says {accuracy}, found {accuracy - 1 / IMAGES}" in told
    assert files() == before


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("file", "entry", "change", "field"),
    [
        ("runs/resnet20/random/seed-1.jsonl", "accuracy", lambda accuracy: accuracy + 1e-3, "line 1, accuracy"),
        ("runs/resnet20/random/seed-1.jsonl", "channels", fewer, "line 1, channels[3]"),
        ("runs/resnet20/random/seed-1.json", "test__accuracy", lambda accuracy: accuracy + 0.01, "test.accuracy"),
        ("manifest.json", "task__weights_sha256", lambda text: text[::-1], "task.weights_sha256"),
        ("manifest.json", "task__dense__test_accuracy", lambda accuracy: accuracy + 0.1, "task.dense.test_accuracy"),
    ],
)
def test_what_was_altered_is_named(
    reported: Experiment, file: str, entry: str, change: Callable[[Any], Any], field: str
) -> None:
    path = reported.folder / file
    put(path, **{entry: change})
    found = check(reported)
    assert (found.code, found.problem) == (1, None)
    assert (path, field) in [(finding.file, finding.field) for finding in found.findings]
    assert {name for name, _ in named(found)} == {f"{path.parent.name}/{path.name}"}


@pytest.mark.usefixtures("here")
def test_every_entry_that_can_be_made_again_is(reported: Experiment) -> None:
    first, second, third, last = reported.runs()
    put(first.lines_path, loss=lambda loss: loss * (1 + 1e-9), reward=lambda reward: reward + 0.1)
    put(first.status_path, test__hits=lambda text: packed(~unpacked(text, IMAGES)), seed=lambda seed: 7)
    put(second.lines_path, requested=lambda ratios: ratios[:-1])
    put(second.status_path, incumbent=lambda number: 1, test__hits=lambda text: text[:2])
    put(third.lines_path, macs=lambda n: n + 1, cost=lambda cost: cost - 1e-6, repeat_of=lambda number: 0)
    put(third.lines_path, realised=lambda ratios: [0.9, *ratios[1:]])
    put(last.lines_path, index=lambda number: 1)
    assert named(check(reported)) == {
        ("uniform/seed-0.jsonl", "line 1, loss"),
        ("uniform/seed-0.jsonl", "line 1, reward"),
        ("uniform/seed-0.json", "test.hits"),
        ("uniform/seed-0.json", "seed"),
        ("random/seed-0.jsonl", "line 1, requested"),
        ("random/seed-0.json", "incumbent"),
        ("random/seed-0.json", "test.hits"),
        ("uniform/seed-1.jsonl", "line 1, macs"),
        ("uniform/seed-1.jsonl", "line 1, cost"),
        ("uniform/seed-1.jsonl", "line 1, repeat_of"),
        ("uniform/seed-1.jsonl", "line 1, realised[0]"),
        ("random/seed-1.jsonl", "content"),
    }


def test_without_the_data_files_and_tables_are_checked_all_the_same(
    reported: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifying, "Processes", Here)
    data = Path(str(reported.config.task.data))
    data.rename(data.with_name("elsewhere"))
    try:
        found = check(reported)
        assert (found.code, found.findings) == (2, [])
        assert "no such folder" in found.lines()[0]
        with pytest.raises(HarnessError, match="no such folder"):
            api.verify(reported.folder)
        put(reported.run("random", 0).status_path, test__accuracy=lambda accuracy: accuracy + 1e-3)
        found = check(reported)
        assert found.code == 1
        assert named(found) == {("random/seed-0.json", "test.accuracy")}
        assert check(reported, data=data.with_name("elsewhere")).problem is None
    finally:
        data.with_name("elsewhere").rename(data)


def searched_on_a_gpu(experiment: Experiment, tf32: bool = False) -> Experiment:
    """The same files, as if its networks had run on a GPU."""
    text = experiment.yaml_path.read_text().replace("device: cpu", "device: cuda")
    experiment.yaml_path.write_text(text.replace("tf32: false", f"tf32: {str(tf32).lower()}"))
    told = store.load(experiment.folder)
    assert (told.config.task.device, told.config.task.tf32) == ("cuda", tf32)
    return told


@pytest.mark.usefixtures("here")
def test_results_of_a_gpu_are_checked_without_one(reported: Experiment) -> None:
    told = searched_on_a_gpu(reported)
    if not torch.cuda.is_available():
        assert str(check(told).problem).startswith("device 'cuda': PyTorch finds no CUDA device")
    found = check(told, device="cpu")
    assert (found.problem, named(found)) == (None, set())
    assert "incumbents scored again" in found.summary
    put(told.run("random", 0).status_path, test__loss=lambda loss: loss + 1e-3)
    assert named(check(told, device="cpu")) == {("random/seed-0.json", "test.loss")}


@pytest.mark.parametrize(
    ("command", "work"),
    [
        ("verify", "commands.verify.verify"),
        ("finetune", "commands.finetune.finetune"),
        ("export", "commands.export.export"),
        ("site", "commands.results_site.verify"),
        ("score", "running.score.of_run"),
    ],
)
def test_the_command_says_where_networks_run(
    command: str, work: str, experiment: Experiment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(given: Experiment, *others: Any, device: str | None = None, **options: Any) -> None:
        raise ConfigError(f"on {device or given.config.task.device}")

    module, _, name = work.rpartition(".")
    monkeypatch.setattr(importlib.import_module(f"prunebench.harness.{module}"), name, told)
    place = str(searched_on_a_gpu(experiment).folder)
    folder = ["--from", place] if command == "score" else [place]
    for options, words in (
        ([], "on cuda"),
        (["--device", "cpu"], "on cpu"),
        (["--device", "cup"], "did you mean 'cpu'?"),
    ):
        assert run_command(command, *folder, *options) == 2
        assert words in capsys.readouterr().err


def test_python_says_where_a_policy_is_scored(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    def settings(given: Experiment) -> None:
        raise ConfigError(f"on {given.config.task.device}")

    monkeypatch.setattr("prunebench.harness.running.score.settings", settings)
    folder = searched_on_a_gpu(experiment).folder
    with pytest.raises(ConfigError, match="on cuda"):
        api.score([1.0], folder)
    with pytest.raises(ConfigError, match="on cpu"):
        api.score([1.0], folder, device="cpu")
    with pytest.raises(HarnessError, match="leave out preserve"):
        api.score([1.0], folder, device="cpu", preserve=0.5)


def test_a_gpus_rounding_is_no_processors(experiment: Experiment) -> None:
    told = searched_on_a_gpu(experiment, tf32=True)
    with pytest.raises(ConfigError, match=r"^device 'cpu': networks of .* ran with --tf32.*; expected 'cuda'$"):
        told.on("cpu")
    with pytest.raises(TaskError, match="did you mean 'cpu'"):
        told.on("cup")
    assert told.on(None) is told
    assert told.on("cuda") == told


@pytest.mark.usefixtures("here")
def test_other_weights_are_said_to_be_others(reported: Experiment, tmp_path: Path) -> None:
    state = torch.load(str(reported.config.task.weights))
    other = {name: 1.01 * tensor if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    torch.save(other, tmp_path / "other.pt")
    found = check(reported, weights=tmp_path / "other.pt")
    assert (found.code, found.findings) == (2, [])
    words = f"the weights here are not those of {str(reported.folder)!r}, and not one score is as recorded"
    assert found.problem == words


@pytest.mark.usefixtures("here")
def test_runs_that_are_not_done_are_said(reported: Experiment) -> None:
    fake.amend(reported.run("random", 1), status="failed", lines=None)
    table_list.rebuild(reported.folder)
    found = check(reported)
    assert (found.code, found.findings) == (0, [])
    assert found.notes == ["1 of 4 runs are not done: nothing of them was checked"]
