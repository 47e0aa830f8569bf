"""The recipe of ``prunebench train``: its schedule, that it learns, that the seed and nothing else decides."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prunebench.envs import cache
from prunebench.envs.data.arrays import ArrayData
from prunebench.envs.data.imagedata import DataSettings
from prunebench.envs.errors import TaskError
from prunebench.envs.files import description_of
from prunebench.envs.weights import recipe, training
from prunebench.envs.weights.recipe import Recipe

SETTINGS = {"model": "x", "mean": None, "classes": ["a"]}


def split(count: int, seed: int) -> tuple[Any, Any]:
    """Three classes, each brighter in a colour of its own."""
    labels = np.arange(count) % 3
    pixels = np.random.default_rng(seed).integers(0, 120, (count, 8, 8, 3), dtype=np.uint8)
    pixels[np.arange(count), :, :, labels] += 60
    return pixels, labels


def images(**settings: Any) -> ArrayData:
    return ArrayData("x", lambda: {"train": split(100, 0), "test": split(30, 1)}, DataSettings(**settings))


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), Drawing()]
    return nn.Sequential(*layers, nn.Dropout(0.1), nn.Linear(8, 3))


class Drawing(nn.Module):
    """Draws from every global generator, in training."""

    def forward(self, x: Tensor) -> Tensor:
        draws = random.random() + np.random.random() + torch.rand(1).item()
        return x * (1 + 0.1 * draws) if self.training else x


class Interrupted(Exception):
    pass


def trained(folder: Path, seed: int = 1, stop_at: int = 0, epochs: float = 2.5, rate: float = 0.05) -> nn.Module:
    def progress(what: str, done: int, total: int) -> None:
        assert (what, total) == ("training the dense network", round(epochs * 5))  # 90 images, 18 a step
        if done == stop_at:
            raise Interrupted

    model = network()
    recipe.train(model, images(), Recipe(epochs, rate, 18, seed), SETTINGS, folder / "x.partial", progress)
    return model


def same(first: nn.Module, second: nn.Module) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero() -> None:
    shares = [recipe._share(50, step) for step in range(50)]
    np.testing.assert_allclose(shares[:5], [0.2, 0.4, 0.6, 0.8, 1.0])
    assert np.all(np.diff(shares[4:]) < 0)
    assert 0 < shares[-1] < 0.01
    assert recipe._share(50, 50) == pytest.approx(0)
    assert [recipe._share(1, step) for step in range(2)] == [1, 0]
    assert recipe.learning_rate(128) == 0.1
    assert recipe.learning_rate(512) == 0.4


def test_the_seed_decides_and_it_learns(tmp_path: Path) -> None:
    first, again, other = (trained(tmp_path, seed) for seed in (1, 1, 2))
    assert same(first, again)
    assert not same(first, other)
    data, long = images(), trained(tmp_path, epochs=20)
    pixels, labels = data.tensors(data.test())
    assert not long.training
    assert float((long(pixels).argmax(1) == labels).float().mean()) > 0.9


@pytest.mark.parametrize("stop_at", [3, 5])
def test_interrupted_it_ends_with_the_same_weights(
    stop_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = trained(tmp_path)
    assert recipe.settings_of(tmp_path / "x.partial") is None
    monkeypatch.setattr(training, "_SAVE_AFTER", -1.0)
    with pytest.raises(Interrupted):
        trained(tmp_path, stop_at=stop_at)
    assert recipe.settings_of(tmp_path / "x.partial") == SETTINGS
    assert same(trained(tmp_path), undisturbed)


def test_slow_steps_are_saved_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_SAVE_AFTER", -1.0)
    with pytest.raises(Interrupted):
        trained(tmp_path, stop_at=2)
    assert cache.load(tmp_path / "x.partial")["step"] == 1


def test_too_large_a_learning_rate_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"learning-rate 1e\+20: .* by step \d+; expected a smaller one, as 1e\+19"):
        trained(tmp_path, rate=1e20)


def test_more_images_a_step_than_there_are() -> None:
    with pytest.raises(TaskError, match="batch 91: expected at most 90, the number of training images"):
        Recipe(1, 0.1, 91, 0).steps(images())


@pytest.mark.parametrize(
    "where", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
)
def test_steps_are_those_of_the_plain_loop(where: str, tmp_path: Path) -> None:
    """Order, crops and mirror images by Python's loops: what the embedded default is trained with, too."""
    data, seed, batch = images(), 7, 18
    pixels, _ = data.tensors(data.train())
    seen: list[Tensor] = []
    model = network().to(where)
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].cpu()))
    recipe.train(model, data, Recipe(1.2, 0.01, batch, seed), {}, tmp_path / "x.partial", lambda *_: None)
    assert len(seen) == 6
    for step, found in enumerate(seen):
        epoch, place = divmod(step, 5)
        order = torch.randperm(90, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        shifts = torch.randint(9, (batch, 2), generator=generator)
        upright = torch.rand(batch, 1, generator=generator) < 0.5
        for number, row in enumerate(order[place * batch : (place + 1) * batch]):
            padded = nn.functional.pad(pixels[row], (4,) * 4)
            down, right = shifts[number]
            crop = padded[:, down : down + 8, right : right + 8]
            assert torch.equal(found[number], crop if upright[number] else crop.flip(2))


def test_who_was_trained_on_other_images_may_have_seen_these(tmp_path: Path) -> None:
    weights, data = tmp_path / "w.pt", images(split_seed=3)
    torch.save(network().state_dict(), weights)
    said = {"settings": {"trained_on": recipe.trained_on(data)}, "weights_sha256": cache.sha256(weights)}
    assert not recipe.unseen(weights, data)
    description_of(weights).write_text(json.dumps(said))
    assert recipe.unseen(weights, images(split_seed=3))
    assert not recipe.unseen(weights, images(split_seed=4))  # whose reward split is another part of the same images
    description_of(weights).write_text(json.dumps(said | {"weights_sha256": "of another file"}))
    assert not recipe.unseen(weights, data)
    description_of(weights).write_text("[]")
    assert not recipe.unseen(weights, data)
