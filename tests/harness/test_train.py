"""A dense network trained by the real command and in this process: what is left, refused, and gone on with."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import finished_runs
import pytest
import torch

from prunebench.envs.data.imagedata import ImageData
from prunebench.envs.networks import models
from prunebench.envs.tasks import preparation
from prunebench.envs.tasks.keys import Dense
from prunebench.envs.tasks.task import TaskConfig, load_data
from prunebench.envs.weights import training
from prunebench.envs.weights.checkpoint import load_weights
from prunebench.harness import api, cli
from prunebench.harness.commands.bench import command as bench_command
from prunebench.harness.dense import trained
from prunebench.harness.dense.train_settings import TrainSettings
from prunebench.harness.display import Lines
from prunebench.harness.errors import USER_ERRORS, ConfigError
from prunebench.harness.inside.train import train_dense
from prunebench.harness.processes.local import Job
from prunebench.harness.running import train as module

COMMAND = [sys.executable, "-c", "from prunebench.harness.cli import main; main()", "train"]
NETWORK = """
from torch import nn

def small(num_classes=4):
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes),
    )

def two_headed(num_classes=4):
    class TwoHeaded(nn.Sequential):
        def forward(self, x):
            return (super().forward(x),) * 2 if self.training else super().forward(x)
    return TwoHeaded(nn.Flatten(), nn.Linear(3 * 16 * 16, num_classes))
"""
SETTINGS = TrainSettings(epochs=2, learning_rate=0.05, batch=32, threads=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_runs.images(tmp_path_factory.mktemp("data") / "images")


@pytest.fixture
def task(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TaskConfig:
    (tmp_path / "trainable_nets.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "trainable_nets", raising=False)
    return TaskConfig("trainable_nets:small", None, "imagefolder", str(data))


class Interrupted(BaseException):
    pass


def train(task: TaskConfig, out: str, settings: TrainSettings = SETTINGS, stop_at: int = 0) -> bool:
    def report(what: str, done: int, total: int) -> None:
        if what == "training the dense network" and done == stop_at:
            raise Interrupted

    return train_dense(report, task, settings, Path(out))


def accuracy(task: TaskConfig, weights: Path, split: str) -> float:
    images: ImageData = load_data(task)
    model = models.build(task.model, len(images.classes))
    load_weights(model, weights)
    pixels, labels = images.tensors(getattr(images, split)())
    with torch.no_grad():
        return float((model.eval()(pixels).argmax(1) == labels).double().mean())


class InThisProcess:
    """Takes the place of processes whose start takes seconds."""

    def __init__(self, *_: Any) -> None: ...

    def __enter__(self) -> InThisProcess:
        return self

    def __exit__(self, *_: Any) -> None: ...

    def start_up(self, watch: Any) -> None: ...

    def call(self, job: Job, watch: Any) -> Any:
        return resolve_name(str(job.function))(watch, *job.args)


def test_the_command_trains_says_what_came_of_it_and_is_done(
    task: TaskConfig, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--model", task.model, "--dataset", "imagefolder", "--data", str(data), "--no-flips", "--epochs", "6"]
    flags += ["--mean", "0.4,0.4,0.4", "--batch", "32", "--threads", "1", "--out", "new/net.pt"]
    done = subprocess.run(
        [*COMMAND, *flags], capture_output=True, text=True, timeout=280, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    out = tmp_path / "new" / "net.pt"
    assert sorted(path.name for path in out.parent.iterdir()) == ["net.json", "net.pt"]
    facts = json.loads(out.with_suffix(".json").read_text())
    first, second, command = done.stdout.splitlines()
    assert first.startswith("new/net.pt: trainable_nets:small on imagefolder, 6 epochs (24 steps), ")
    assert facts["weights_sha256"] in second
    told = TaskConfig(task.model, str(out), "imagefolder", str(data), mean=(0.4, 0.4, 0.4), flips=False)
    for split in ("reward", "test"):
        assert facts["accuracy"][split] == accuracy(told, out, split)
        assert f"{100 * facts['accuracy'][split]:.2f} % on the {split} split" in second
    assert facts["data_sha256"] == load_data(told).sha256()
    words = shlex.split(command)
    assert words[:2] == ["prunebench", "bench"]
    options = bench_command.make_context("bench", words[2:]).params
    assert (options["weights"], options["flips"], options["mean"]) == ("new/net.pt", False, (0.4, 0.4, 0.4))

    monkeypatch.setattr(module, "Processes", InThisProcess)
    before = {path: path.stat().st_mtime_ns for path in out.parent.iterdir()}
    assert run(*flags) == 0
    again = capsys.readouterr()
    assert again.out == done.stdout
    assert "new/net.pt was trained before, with these settings" in again.err
    with pytest.raises(ConfigError, match=r"out 'new/net\.pt' exists already \(seed is 0, not 3\): expected the name"):
        module.train(told, TrainSettings(6, None, 32, 3, 1), Path("new/net.pt"), Lines())
    assert {path: path.stat().st_mtime_ns for path in out.parent.iterdir()} == before


def run(*arguments: str) -> Any:
    with pytest.raises(SystemExit) as end:
        cli.main(["train", *arguments])
    return end.value.code


def test_interrupted_it_goes_on_to_the_same_file_and_only_with_its_settings(
    task: TaskConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(task, "a.pt")
    monkeypatch.setattr(training, "_SAVE_AFTER", -1.0)
    with pytest.raises(Interrupted):
        train(task, "b.pt", stop_at=4)
    assert Path("b.pt.partial").exists()
    assert not Path("b.pt").exists()
    state = Path("b.pt.partial").read_bytes()
    for changed, words in (
        (TrainSettings(2, 0.01, 32, threads=1), "learning-rate is 0.05, not 0.01"),
        (TrainSettings(2, 0.05, 32, seed=4, threads=1), "seed is 0, not 4"),
    ):
        with pytest.raises(ConfigError, match=f"'b.pt.partial' is unfinished .*{words}.*name those again"):
            train(task, "b.pt", changed)
    code = Path("trainable_nets.py").read_text()
    Path("trainable_nets.py").write_text(code.replace("nn.ReLU(), nn.Conv2d", "nn.LeakyReLU(), nn.Conv2d"))
    del sys.modules["trainable_nets"]
    with pytest.raises(ConfigError, match="the network computes something else"):
        train(task, "b.pt")
    Path("trainable_nets.py").write_text(code)
    del sys.modules["trainable_nets"]
    assert Path("b.pt.partial").read_bytes() == state
    assert train(task, "b.pt")
    assert Path("b.pt").read_bytes() == Path("a.pt").read_bytes()
    assert not Path("b.pt.partial").exists()

    Path("b.pt").unlink()  # as if it was interrupted between the two files
    assert train(task, "b.pt")
    assert not train(task, "b.pt")


def test_one_file_is_trained_by_one_process_at_a_time(task: TaskConfig) -> None:
    with (
        trained.at_work(Path("new/a.pt")),
        pytest.raises(ConfigError, match=r"out 'new/a\.pt': another process is training it; expected another name"),
    ):
        train(task, "new/a.pt")
    assert train(task, "new/a.pt")
    assert sorted(path.name for path in Path("new").iterdir()) == ["a.json", "a.pt"]


def test_epochs_without_end_are_refused_in_one_line(task: TaskConfig) -> None:
    with pytest.raises(USER_ERRORS, match=r"epochs 1e\+308: expected fewer"):
        train(task, "a.pt", TrainSettings(1e308, threads=1))


def test_what_is_there_is_never_overwritten(task: TaskConfig) -> None:
    assert train(task, "a.pt")
    content = Path("a.pt").read_bytes()
    Path("a.pt").write_bytes(content + b"more")
    with pytest.raises(ConfigError, match=r"it is another file than a\.json says"):
        train(task, "a.pt")
    assert Path("a.pt").read_bytes() == content + b"more"
    Path("b.json").write_text("[1]")
    with pytest.raises(ConfigError, match=r"'b\.json' exists already"):
        train(task, "b.pt")
    Path("c.pt").write_text("mine")
    with pytest.raises(ConfigError, match=r"out 'c\.pt' exists already: expected"):
        trained.check_name(Path("c.pt"))
    with pytest.raises(ConfigError, match=r"expected a name that ends in \.pt or \.pth"):
        trained.check_name(Path("weights.json"))
    with pytest.raises(ConfigError, match="no folder that can be written into"):
        trained.check_name(Path("c.pt/d.pt"))


def test_numbers_that_are_none_end_it_and_leave_nothing(task: TaskConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_SAVE_AFTER", -1.0)
    with pytest.raises(USER_ERRORS, match=r"learning-rate 1e\+20: .*expected a smaller one, as 1e\+19"):
        train(task, "a.pt", TrainSettings(2, 1e20, 32, threads=1))
    assert not list(Path().glob("a.*"))


def test_networks_that_cannot_be_trained_are_refused_in_one_line(task: TaskConfig) -> None:
    two_headed = TaskConfig("trainable_nets:two_headed", None, task.dataset, task.data)
    with pytest.raises(USER_ERRORS, match="gives tuple in training: expected logits"):
        train(two_headed, "a.pt")
    with pytest.raises(USER_ERRORS, match="batch 133: expected at most 132, the number of training images"):
        train(task, "a.pt", TrainSettings(batch=133, threads=1))


def test_the_reward_split_was_not_seen_by_what_was_trained_here(task: TaskConfig, data: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for split in ("train", "test"):  # so that the reward split is a part of train/
        (tmp_path / "images" / split).symlink_to(data / split)
    cut = TaskConfig(task.model, None, task.dataset, "images")
    assert train(cut, "a.pt", TrainSettings(1, None, 32, threads=1))
    for split_seed, here in ((0, True), (1, False)):
        searched = TaskConfig(task.model, "a.pt", task.dataset, "images", split_seed=split_seed)
        found = load_data(searched)
        assert found.reward_from_training
        assert preparation._unseen(Dense(searched, found)) == here


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "--out"),
        ("--out a.pt --epochs 0", "epochs 0: expected a positive number"),
        ("--out a.pt --learning-rate nan", "learning-rate nan: expected a positive number"),
        ("--out a.pt --batch 0", "batch 0: expected"),
        ("--out a.pt --seed -1", "seed -1: expected a number from 0"),
        ("--out a.pt --threads 0", "threads 0: expected"),
        ("--out a.onnx", "expected a name that ends in .pt"),
        ("--out a.pt --model resnett20", "did you mean 'resnet20'"),
        ("--out a.pt --dataset imagefolder", "needs --data"),
        ("--out a.pt --weights b.pt", "--weights"),
    ],
)
def test_wrong_input_is_answered_in_one_line(
    arguments: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*arguments.split()) == 2
    assert words in (line := capsys.readouterr().err)
    assert line.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_from_python_it_is_the_same(task: TaskConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(module, "train", lambda *given: asked.extend(given))
    import trainable_nets

    api.train(trainable_nets.small, "imagefolder", folder=task.data, out="a.pt", epochs=2, threads=1, flips=False)
    assert asked[0] == TaskConfig(task.model, None, "imagefolder", task.data, flips=False)
    assert asked[1:3] == [TrainSettings(2, threads=1), Path("a.pt")]
    with pytest.raises(USER_ERRORS, match="setting 'scope' is unknown"):
        api.train("resnet20", out="a.pt", scope="all")
    untyped: Any = api
    for wrong, words in (({"epochs": "two"}, "epochs 'two': expected"), ({"batch": 1.5}, "batch 1.5: expected")):
        monkeypatch.undo()
        with pytest.raises(USER_ERRORS, match=words):
            untyped.train("resnet20", out="a.pt", **wrong)
