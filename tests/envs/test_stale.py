"""What is kept in a cache or in a process is never given for something else: new weights, other images, other code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from prunebench.envs import cache
from prunebench.envs.errors import TaskError
from prunebench.envs.networks.computed import computed
from prunebench.envs.tasks import preparation
from prunebench.envs.tasks.keys import Dense
from prunebench.envs.tasks.preparation import forget_evaluator, load_evaluator, prepared_evaluator
from prunebench.envs.tasks.task import TaskConfig, load_data

NET = """
import functools
import torch
from torch import nn
from stale_parts import act

class Net(nn.Module):
    def __init__(self, width, num_classes):
        super().__init__()
        self.a = nn.Conv2d(3, width, 3, 2, 1)
        self.b = nn.Conv2d(width, width, 3, 2, 1)
        self.c = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.c(act(self.b(act(self.a(x)))).mean((2, 3)))

net = functools.partial(Net, 8)
"""
PARTS = "from torch.nn.functional import relu as act\n"
SMALL = {"reward_images": 20, "calibration_images": 20}


def write_net(folder: Path, parts: str = PARTS) -> None:
    """Write the user's files and import them anew, as another process would."""
    (folder / "stale_net.py").write_text(NET)
    (folder / "stale_parts.py").write_text(parts)
    for name in ("stale_net", "stale_parts"):
        sys.modules.pop(name, None)
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TaskConfig]:
    """A network of one's own, in two files, with weights."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PRUNEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path)
    write_net(tmp_path)
    save_weights(tmp_path / "w.pt", 0)
    yield TaskConfig("stale_net:net", str(tmp_path / "w.pt"), **SMALL)
    forget_evaluator()
    for name in ("stale_net", "stale_parts"):
        sys.modules.pop(name, None)


def save_weights(path: Path, seed: int) -> None:
    torch.manual_seed(seed)
    torch.save(importlib.import_module("stale_net").net(num_classes=10).state_dict(), path)


def dense_loss(task: TaskConfig) -> float:
    """The loss of the user's own network on the reward split, by a forward pass of our own."""
    data = load_data(task)
    model = importlib.import_module("stale_net").net(num_classes=10)
    model.load_state_dict(torch.load(task.weights))
    pixels, labels = data.tensors(data.reward())
    with torch.no_grad():
        return float(F.cross_entropy(model.eval()(pixels), labels))


def scored(task: TaskConfig) -> float:
    evaluator = prepared_evaluator(task)
    return evaluator.score(evaluator.dense).loss


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every network that is verified."""
    seen: list[object] = []
    verify = preparation.verify
    monkeypatch.setattr(preparation, "verify", lambda network, **how: (seen.append(network), verify(network, **how)))
    return seen


def test_new_weights_under_the_same_path_are_seen(task: TaskConfig) -> None:
    before = scored(task)
    assert before == pytest.approx(dense_loss(task), rel=1e-4)
    save_weights(Path(str(task.weights)), 1)
    after = scored(task)
    assert after == pytest.approx(dense_loss(task), rel=1e-4)
    assert after != before
    save_weights(Path(str(task.weights)), 2)
    with pytest.raises(FileNotFoundError):  # what is there is of the other weights
        load_evaluator(task)


def test_weights_of_the_same_size_and_time_are_seen(task: TaskConfig) -> None:
    path = Path(str(task.weights))
    status = path.stat()
    before = scored(task)
    save_weights(path, 1)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    assert scored(task) == pytest.approx(dense_loss(task), rel=1e-4) != before


def test_a_relative_path_means_the_file_in_the_present_folder(
    task: TaskConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, losses = replace(task, weights="w.pt"), []
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        monkeypatch.chdir(tmp_path / str(seed))
        save_weights(Path("w.pt"), seed)
        losses.append(scored(task))
        assert losses[-1] == pytest.approx(dense_loss(task), rel=1e-4)
    assert losses[0] != losses[1]


def test_unchanged_the_evaluator_is_made_once(task: TaskConfig) -> None:
    evaluator = prepared_evaluator(task)
    assert prepared_evaluator(task) is evaluator
    assert load_evaluator(task) is evaluator
    forget_evaluator()
    assert load_evaluator(task) is not evaluator


def test_images_that_are_replaced_are_seen(task: TaskConfig, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for number in range(8):
            file = tmp_path / "images" / split / "ab"[number % 2] / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(file)
    net = importlib.import_module("stale_net").net(num_classes=2)
    torch.save(net.state_dict(), tmp_path / "two.pt")
    task = TaskConfig("stale_net:net", str(tmp_path / "two.pt"), dataset="imagefolder", data=str(tmp_path / "images"))
    before = scored(task)
    Image.new("RGB", (16, 16), "white").save(tmp_path / "images" / "val" / "a" / "0.png")
    assert scored(task) != before


@pytest.mark.parametrize(
    "parts",
    [
        "from torch.nn.functional import relu6 as act\n",
        "def act(x):\n    return x.relu() * 0.5\n",
        "from torch import sigmoid as act\n",
    ],
)
def test_a_file_that_the_network_s_file_imports_counts(
    task: TaskConfig, tmp_path: Path, parts: str, verified: list[object]
) -> None:
    before = Dense(task, load_data(task)).calibration_path
    assert scored(task) == pytest.approx(dense_loss(task), rel=1e-4)
    write_net(tmp_path, parts)
    assert Dense(task, load_data(task)).calibration_path != before
    assert scored(task) == pytest.approx(dense_loss(task), rel=1e-4)
    assert len(verified) == 2


def test_what_does_not_compute_something_else_does_not_count(
    task: TaskConfig, tmp_path: Path, verified: list[object]
) -> None:
    scored(task)
    write_net(tmp_path, f"# a comment\n{PARTS}")
    scored(task)
    assert len(verified) == 1


def test_a_number_of_a_module_counts_in_the_same_process(task: TaskConfig, tmp_path: Path) -> None:
    write_net(tmp_path, "SLOPE = 1.0\ndef act(x):\n    return x.clamp(min=0) * SLOPE\n")
    before = scored(task)
    sys.modules["stale_parts"].SLOPE = 0.25  # type: ignore[attr-defined]
    assert scored(task) == pytest.approx(dense_loss(task), rel=1e-4) != before


def test_random_numbers_that_no_checkpoint_holds_are_the_same_every_time(task: TaskConfig, tmp_path: Path) -> None:
    drawn = "import torch\nSCALE = None\ndef act(x):\n    return x.relu() * torch.rand(1, x.shape[1], 1, 1)\n"
    write_net(tmp_path, drawn)
    first, second = (Dense(task, load_data(task)).sha256 for _ in range(2))
    assert first == second


def test_a_network_that_does_not_run_is_named(task: TaskConfig, tmp_path: Path) -> None:
    write_net(tmp_path, "def act(x):\n    return x.view(1, 2, 3)\n")
    with pytest.raises(TaskError, match=r"^model 'stale_net:net' does not run on an image of 16 x 16 pixels: Runtime"):
        load_evaluator(task)


def test_asking_draws_no_random_numbers(task: TaskConfig) -> None:
    scored(task)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Dense(task, load_data(task)).calibration_path  # noqa: B018
    assert torch.equal(torch.rand(3), expected)


class Small(nn.Module):
    """A network whose parts are given."""

    def __init__(self, forward: Callable[[nn.Module, torch.Tensor], torch.Tensor], **parts: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)
        self.again = nn.Conv2d(4, 4, 1)
        self.more = nn.Conv2d(4, 4, 1)
        for name, part in parts.items():
            self.add_module(name, part)
        self.compute = forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.compute(self, self.conv(x)).mean((2, 3))


TABLES = {scale: torch.full((4, 1, 1), scale) for scale in (1.0, 1.0 + 1e-6)}
DIFFERENT = {
    "relu": lambda net, x: F.relu(x),
    "relu6": lambda net, x: F.relu6(x),
    "a scale": lambda net, x: x * 0.5,
    "another scale": lambda net, x: x * 0.5000001,
    "a table": lambda net, x: x * TABLES[1.0],
    "another table": lambda net, x: x * TABLES[1.0 + 1e-6],
    "a limit that is never met": lambda net, x: x.clamp(max=1000),
    "another one": lambda net, x: x.clamp(max=1001),
    "one after the other": lambda net, x: net.again(net.more(x)),
    "the other after the one": lambda net, x: net.more(net.again(x)),
    "twice the same": lambda net, x: net.more(net.more(x)),
    "a difference": lambda net, x: net.more(x) - x,
    "the other way round": lambda net, x: x - net.more(x),
    "no gradient": lambda net, x: x.detach(),
    "in place": lambda net, x: x.relu_(),
}


def test_all_that_differs_differs() -> None:
    found = {name: computed(Small(forward), 8) for name, forward in DIFFERENT.items()}
    assert len(set(found.values())) == len(found)
    assert found == {name: computed(Small(forward), 8) for name, forward in DIFFERENT.items()}


def test_modules_and_weights_and_hooks_count() -> None:
    plain = computed(Small(DIFFERENT["relu"]), 8)
    assert computed(Small(DIFFERENT["relu"], unused=nn.Dropout(0.1)), 8) != plain
    assert computed(Small(DIFFERENT["relu"], unused=nn.Dropout(0.1)), 8) != computed(
        Small(DIFFERENT["relu"], unused=nn.Dropout(0.2)), 8
    )
    hooked = Small(DIFFERENT["relu"])
    hooked.conv.register_forward_hook(lambda module, args, output: output + 1e-9)
    assert computed(hooked, 8) != plain
    heavier = Small(DIFFERENT["relu"])
    with torch.no_grad():
        heavier.conv.weight[0, 0, 0, 0] += 1
    assert computed(heavier, 8) != plain


def test_the_number_of_threads_does_not_count() -> None:
    network, before = Small(DIFFERENT["one after the other"]), torch.get_num_threads()
    found = set()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.add(computed(network, 32))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert len(found) == 1


def test_a_file_is_hashed_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, read = tmp_path / "w", []
    file.write_bytes(b"one")
    digest = cache.hashlib.file_digest
    monkeypatch.setattr(cache.hashlib, "file_digest", lambda *a: (read.append(1), digest(*a))[1])
    first = cache.sha256(file)
    assert cache.sha256(file) == first
    assert len(read) == 2  # so lately changed, it might have changed again
    monkeypatch.setattr(cache, "_UNSETTLED", -(10**12))
    assert cache.sha256(file) == cache.sha256(file) == first
    assert len(read) == 3
    file.write_bytes(b"two")
    assert cache.sha256(file) != first


def test_the_trained_network_keeps_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Training takes minutes: what older versions trained is found again."""
    monkeypatch.setenv("PRUNEBENCH_CACHE", str(tmp_path))
    task = TaskConfig()
    assert Dense(task, load_data(task)).weights_path.name == "dense-mobilenetv2-54150cc49019069f8f33.pt"
