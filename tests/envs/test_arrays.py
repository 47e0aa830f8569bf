"""Arrays of a user's own, which are the same data as their folder of PNGs, and data sets of other packages."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from prunebench.envs.data import datasets
from prunebench.envs.data.digits import Digits
from prunebench.envs.data.imagedata import ImageData
from prunebench.envs.errors import TaskError
from prunebench.envs.progress import silent
from prunebench.envs.tasks import preparation
from prunebench.envs.tasks.task import TaskConfig, check_task, load_data

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
EXAMPLE = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[0]
CLASSES = ("cat", "dog", "owl", "pig")
TASK = TaskConfig(dataset="mydata:load")
COUNTS = {"train": 60, "test": 24}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "mydata", raising=False)


def arrays(counts: dict[str, int] = COUNTS, size: int = 16) -> dict[str, Any]:
    """Every split with its classes mixed."""
    rng = np.random.default_rng(0)
    found = {}
    for split, count in counts.items():
        labels = rng.permutation(np.arange(count) % len(CLASSES))
        pixels = rng.integers(0, 120, (count, size, size, 3)) + 30 * labels[:, None, None, None]
        found[split] = (pixels.astype(np.uint8), labels)
    return found


def returned(content: Any, monkeypatch: pytest.MonkeyPatch) -> ImageData:
    """The data set of a function that returns this."""
    monkeypatch.setattr(datasets._OWN.__class__, "load", lambda self, name: lambda: content)
    return load_data(TASK)


def save(root: Path, content: dict[str, Any]) -> None:
    """The same images as files in the order of the rows, and as an npz."""
    for split, (pixels, labels) in content.items():
        for row, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
            file = root / "images" / split.replace("reward", "val") / CLASSES[label] / f"{row:05}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(file)
    parts = {f"{name}_{split}": part for split, pair in content.items() for name, part in zip("xy", pair, strict=True)}
    np.savez(root / "images.npz", **parts)
    (root / "mydata.py").write_text(EXAMPLE)


@pytest.mark.parametrize("options", [{}, {"reward_images": 8, "split_seed": 3}, {"mean": (0.1, 0.2, 0.3)}])
def test_an_npz_in_ten_lines_is_the_same_data_as_its_folder(tmp_path: Path, options: dict[str, Any]) -> None:
    assert len(EXAMPLE.strip().splitlines()) <= 11
    save(tmp_path, arrays())
    check_task(replace(TASK, **options))
    own = load_data(replace(TASK, **options))
    folder = load_data(replace(TASK, dataset="imagefolder", data="images", **options))
    assert (own.classes, own.image_size, own.sizes()) == (folder.classes, folder.image_size, folder.sizes())
    assert own.training_split() == folder.training_split()
    assert own.sha256() == folder.sha256()
    for split in ("train", "reward", "test"):
        mine, theirs = getattr(own, split)(), getattr(folder, split)()
        for name in ("pixels", "labels", "sources"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
    np.testing.assert_array_equal(own.calibration(20).pixels, folder.calibration(20).pixels)
    np.testing.assert_array_equal(own.tensors(own.reward())[0], folder.tensors(folder.reward())[0])


def test_it_is_evaluated_as_its_folder(tmp_path: Path) -> None:
    import torch
    from randomnets import random_network

    save(tmp_path, arrays())
    torch.save(random_network("resnet20", classes=len(CLASSES)).state_dict(), "weights.pt")
    own = TaskConfig("resnet20", "weights.pt", "mydata:load", reconstruction="none")
    facts, scores = [], []
    for task in (own, replace(own, dataset="imagefolder", data="images")):
        facts.append(preparation.prepare(task, silent))
        evaluator = preparation.load_evaluator(task)
        scores.append(evaluator.score([max(1, count // 2) for count in evaluator.dense]))
    assert facts[0] == facts[1]
    assert scores[0] == scores[1]
    assert facts[0]["reward_maybe_seen"]
    assert facts[0]["chance"] == pytest.approx(2 / 6)  # 6 images of 4 classes


def test_channels_may_come_first_and_a_reward_split_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    content = arrays(COUNTS | {"reward": 12})
    data = returned(content, monkeypatch)
    turned = {split: (pixels.transpose(0, 3, 1, 2), labels) for split, (pixels, labels) in content.items()}
    other = returned(turned, monkeypatch)
    assert data.fingerprint() == other.fingerprint()
    assert data.sizes() == {"train": 60, "reward": 12, "test": 24}
    assert data.classes == ("0", "1", "2", "3")
    assert not data.reward_from_training
    np.testing.assert_array_equal(data.test().pixels, other.test().pixels)
    assert data.reward().pixels.flags.c_contiguous


def test_the_fingerprint_changes_with_every_part(monkeypatch: pytest.MonkeyPatch) -> None:
    def fingerprint(change: Any = None) -> str:
        content = arrays()
        if change:
            change(content)
        return returned(content, monkeypatch).fingerprint()

    def pixel(content: dict[str, Any]) -> None:
        content["train"][0][3, 2, 1, 0] ^= 1

    def label(content: dict[str, Any]) -> None:
        content["test"][1][0] = (content["test"][1][0] + 1) % 4

    def names(content: dict[str, Any]) -> None:
        content["classes"] = list("abcd")

    assert len({fingerprint(), fingerprint(pixel), fingerprint(label), fingerprint(names)}) == 4
    assert fingerprint() == fingerprint()


def changed(split: str, part: int, value: Any) -> dict[str, Any]:
    content = arrays()
    pair = list(content[split])
    pair[part] = value(pair[part]) if callable(value) else value
    return content | {split: tuple(pair)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "it returns list, expected a mapping of train, reward, test"),
        ({"train": arrays()["train"]}, "it returns no 'test'"),
        (arrays() | {"val": arrays()["test"]}, "it returns 'val', expected train, test and, if any, reward"),
        (arrays() | {"test": arrays()["test"][0]}, r"'test' is ndarray, expected \(pixels, labels\)"),
        (changed("test", 0, lambda x: x / 255), "pixels of 'test' are float64, expected uint8"),
        (changed("train", 0, lambda x: x[..., 0]), r"shape \(60, 16, 16\), expected \(N, S, S, 3\) or \(N, 3, S, S\)"),
        (changed("train", 0, lambda x: x[..., :1]), r"shape \(60, 16, 16, 1\), expected"),
        (changed("train", 0, lambda x: x[:, :9]), r"shape \(60, 9, 16, 3\), expected"),
        (changed("train", 0, lambda x: x[:, :3, :3]), r"shape \(60, 3, 3, 3\), expected"),
        (changed("test", 0, lambda x: x[:, :8, :8]), "images of 'test' have 8 pixels a side, those of 'train' 16"),
        (changed("test", 0, lambda x: x[:5]), r"labels of 'test' have shape \(24,\), expected \(5,\)"),
        (changed("train", 1, lambda y: y[:, None]), r"labels of 'train' have shape \(60, 1\), expected \(60,\)"),
        (changed("train", 1, lambda y: y + 0.0), "labels of 'train' are float64, expected whole numbers"),
        (changed("train", 1, lambda y: y - 1), "labels of 'train' have -1, expected numbers from 0"),
        (changed("train", 1, lambda y: y + 1), "'train' has no image of class 0; classes are numbered from 0"),
        (changed("test", 1, lambda y: y + 1), "labels of 'test' have 4, expected numbers from 0 to 3"),
        (arrays({"train": 60, "test": 0}), "'test' has no images"),
        (arrays() | {"classes": ["a", "b", "c"]}, "labels of 'train' have 3, expected numbers from 0 to 2"),
        (arrays() | {"classes": list("abcde")}, "'train' has no image of class 4"),
        (arrays() | {"classes": list("abca")}, "'classes' has a name twice"),
        (arrays() | {"classes": 4}, "'classes' is int, expected names"),
        (arrays() | {"classes": "abcd"}, "'classes' is str, expected names"),
        (arrays() | {"reward": arrays()["train"]}, "'train' and 'reward' are the same images"),
        (changed("train", 0, [[1], [2, 3]]), "'train' cannot be turned into arrays: ValueError"),
    ],
)
def test_what_is_wrong_with_arrays_is_said_in_one_line(
    content: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TaskError, match=rf"dataset 'mydata:load': .*{message}") as caught:
        returned(content, monkeypatch)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "nodata:load"}, "dataset 'nodata:load': no module 'nodata'"),
        ({"dataset": "mydata:"}, r"dataset 'mydata:': expected package\.module:function, as mydata:load"),
        ({"data": "images"}, "dataset 'mydata:load' fixes data"),
        ({"image_size": 8}, "dataset 'mydata:load' fixes image-size"),
        ({"classes": ("a", "b")}, "dataset 'mydata:load' fixes classes"),
    ],
)
def test_a_wrong_task_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "mydata.py").write_text("import torch_is_not_asked_for")  # nor is anything imported for the check
    with pytest.raises(TaskError, match=message):
        check_task(replace(TASK, **changes))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("load = 3", "has no function 'load'"),
        ("def load(path): pass", "calling it without arguments fails: TypeError"),
        ("def load(): raise OSError('no\\nfile')", "calling it without arguments fails: OSError: no file"),
        ("import sys\ndef load(): sys.exit(1)", "calling it without arguments fails: SystemExit"),
    ],
)
def test_a_function_that_fails_is_said_in_one_line(source: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mydata.py").write_text(source)
    with pytest.raises(TaskError, match=rf"dataset 'mydata:load': .*{message}") as caught:
        load_data(TASK)
    assert "\n" not in str(caught.value)


class Pets(Digits):
    """A data set of another package."""

    options = ("image_size",)


def pets() -> Any:
    return arrays()


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Any:
    def entries(**names: str) -> None:
        monkeypatch.setitem(sys.modules, "pets_package", sys.modules[__name__])
        found = [EntryPoint(name, value, datasets.GROUP) for name, value in names.items()]
        monkeypatch.setattr(datasets, "entry_points", lambda group: found)
        datasets.registered.cache_clear()

    yield entries
    datasets.registered.cache_clear()


def test_entry_points_are_data_sets(register: Any) -> None:
    register(pets="pets_package:Pets", drawn="pets_package:pets")
    assert {"pets", "drawn", "digits"} <= set(datasets.names())
    for name in ("pets", "drawn"):
        check_task(TaskConfig(dataset=name))
    assert isinstance(load_data(TaskConfig(dataset="pets", image_size=8)), Pets)
    assert load_data(TaskConfig(dataset="drawn")).sizes() == {"train": 54, "reward": 6, "test": 24}
    check_task(TaskConfig(dataset="pets", image_size=8))
    check_task(TaskConfig(dataset="drawn", flips=False))
    for name, option in (("pets", {"flips": True}), ("drawn", {"image_size": 8})):
        with pytest.raises(TaskError, match=f"dataset '{name}' fixes"):
            check_task(TaskConfig(dataset=name, **option))
    with pytest.raises(TaskError, match=r"dataset 'pet' is unknown: .*did you mean 'pets'\?"):
        check_task(TaskConfig(dataset="pet"))


def test_broken_entry_points_are_named(register: Any) -> None:
    register(broken="no_such_module_at_all:load")
    with pytest.raises(TaskError, match=r"dataset 'broken' \(no_such_module_at_all:load\) cannot be imported: Module"):
        check_task(TaskConfig(dataset="broken"))
    for name in ("digits", "a:b"):
        register(**{name: "pets_package:Pets"})
        with pytest.raises(TaskError, match=f"dataset '{name}'"):
            datasets.names()


def test_entry_points_and_own_functions_are_listed(register: Any) -> None:
    from prunebench.harness.experiments import listing

    register(pets="pets_package:Pets", broken="no_such_module_at_all:load")
    lines = [line.strip() for line in listing.text("datasets").splitlines()]
    assert lines[lines.index("pets") + 1] == "--image-size: optional"
    (reason,) = [line for line in lines if line.startswith("broken: cannot be used: ")]
    assert "ModuleNotFoundError" in reason
    own = lines.index("package.module:function: your own arrays, of a function without arguments")
    assert lines[own + 1 :] == ["--mean: optional", "--std: optional", "--flips: optional"]
