"""Fine-tuning: the network it starts from, what it does to it, and that an interruption changes nothing."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import reference
import torch
from torch import Tensor, nn

from prunebench.envs.data.digits import Digits
from prunebench.envs.data.imagedata import DataSettings, Images
from prunebench.envs.errors import TaskError
from prunebench.envs.weights import finetuning, training

NAME = "resnet20"


class FewDigits(Digits):
    """Reward images to train on, mirrored and shifted too."""

    epochs = 8
    flips = True

    @cached_property
    def _few(self) -> Images:
        return self.reward().take(np.arange(2 * training.BATCH + 5))

    def train(self) -> Images:
        return self._few


class Interrupted(Exception):
    pass


def started(name: str = NAME) -> nn.Module:
    found = reference.evaluator(name, "inner", "l2", "none")
    return found.unfolded(reference.random_counts(found.network, 3))


def tuned(
    folder: Path, seed: int = 1, stop_at: int | None = None, epochs: float = 2, name: str = NAME, rate: float = 0.01
) -> tuple[dict[str, Tensor], list[tuple[str, int, int]]]:
    told: list[tuple[str, int, int]] = []

    def progress(what: str, done: int, total: int) -> None:
        told.append((what, done, total))
        if done == stop_at:
            raise Interrupted

    model = started(name)
    finetuning.finetune(model, FewDigits(DataSettings()), seed, epochs, rate, folder / "state.partial", progress)
    assert not model.training
    return model.state_dict(), told


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[key], second[key]) for key in first | second)


@pytest.mark.parametrize(
    ("name", "scope", "reconstruction"),
    [
        (NAME, "inner", "least-squares"),
        (NAME, "all", "both"),
        (NAME, "all", "batch-norm"),
        ("mobilenetv2", "inner", "none"),
        ("mobilenetv1", "all", "none"),
        ("vgg16", "inner", "none"),
        ("oddnets:concatenated", "all", "least-squares"),
    ],
)
def test_the_network_to_train_computes_what_is_scored(name: str, scope: str, reconstruction: str) -> None:
    found = reference.evaluator(name, scope, "l2", reconstruction)
    images = reference.noise(name, 4, 9)
    first, second = (reference.random_counts(found.network, seed) for seed in (5, 6))
    model = found.unfolded(first)
    with torch.no_grad():
        expected = found.build(first)(images)
        found.build(second)  # changes what build gave, and must not reach the network of its own
        found.unfolded(second)
        assert reference.difference(model(images), expected) <= 1e-5
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert sum(p.numel() for p in model.parameters()) == found.costs["parameters"](first)
    assert all(m.momentum == 0.1 for m in model.modules() if isinstance(m, nn.BatchNorm2d) and "odd" not in name)


def test_training_it_leaves_the_evaluator_alone(tmp_path: Path) -> None:
    found = reference.evaluator(NAME, "inner", "l2", "none")
    before = found.score(found.dense)
    tuned(tmp_path)
    assert reference.evaluator(NAME, "inner", "l2", "none").score(found.dense) == before


@pytest.mark.parametrize("stop_at", [1, 3, 4])
def test_interrupted_it_ends_with_the_same_weights(
    stop_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_SAVE_AFTER", -1.0)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    undisturbed, told = tuned(tmp_path / "a")
    with pytest.raises(Interrupted):
        tuned(tmp_path / "b", stop_at=stop_at)
    resumed, rest = tuned(tmp_path / "b")
    assert same(resumed, undisturbed)
    assert len(rest) == len(told) - stop_at + 1  # the step in hand is lost


def test_the_seed_decides(tmp_path: Path) -> None:
    first, again, other = (tuned(tmp_path, seed)[0] for seed in (1, 1, 2))
    assert same(first, again)
    assert not same(first, other)
    assert not same(first, started().state_dict())


def test_it_learns(tmp_path: Path) -> None:
    data = FewDigits(DataSettings())
    pixels, labels = data.tensors(data.train())

    def loss(state: dict[str, Tensor]) -> float:
        model = started()
        model.load_state_dict(state)
        with torch.no_grad():
            return float(nn.functional.cross_entropy(model(pixels), labels))

    assert loss(tuned(tmp_path, epochs=8, rate=0.02)[0]) < loss(started().state_dict()) - 0.3


@pytest.mark.parametrize(("epochs", "steps"), [(0.01, 1), (0.5, 1), (1, 2), (1.5, 3)])
def test_fractions_of_an_epoch(epochs: float, steps: int, tmp_path: Path) -> None:
    assert tuned(tmp_path, epochs=epochs)[1][-1] == ("fine-tuning", steps, steps)


def test_the_default_is_a_quarter_of_the_dense_networks_epochs() -> None:
    assert finetuning.default_epochs(FewDigits(DataSettings())) == 2
    assert finetuning.default_epochs(Digits(DataSettings())) == 0.5


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"learning-rate 1e\+30: .* expected a smaller one"):
        tuned(tmp_path, rate=1e30, epochs=3)
