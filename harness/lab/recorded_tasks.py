"""The recorded tasks as fitted functions, in the place of an evaluator: no network, no image, no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunebench.envs.environment.channel_pruning import COUNTED, ChannelPruningEnv, FinalScore, Score
from prunebench.envs.environment.cost import CostModel
from prunebench.harness.lab.surface import Surface

FOLDER = Path(__file__).parent / "fitted"
TASKS = ("resnet56", "resnet110", "mobilenetv2")
"""The recorded tasks, parts of the first study; a file each."""

_TABLE = ("channels", "c_in", "c_out", "kernel", "stride", "height", "width", "macs", "parameters")


class FittedEvaluator:
    """Says of channel counts what a surface says that was fitted to the recorded evaluations of a task.

    Args:
        layers: the layer table.
        costs: those of :data:`prunebench.envs.environment.channel_pruning.COUNTED`.
        surface: of log ratios; its outcomes are the logarithm of the loss and that of the share of wrong images, where
            :func:`shifted` keeps the latter above 0.
        images: of the reward split, whose accuracies are whole numbers of images.
    """

    def __init__(self, layers: dict[str, Any], costs: dict[str, CostModel], surface: Surface, images: int) -> None:
        self.layers, self.costs, self.images = layers, costs, images
        self.seconds = {"reconstruction": 0.0, "forward": 0.0}
        self._surface = surface

    def score(self, counts: tuple[int, ...]) -> Score:
        """The fitted score."""
        loss, wrong = np.exp(self._surface(log_ratios(np.array([counts]), self.layers["channels"]))[0])
        right = round((1 - (wrong - 1 / self.images)) * self.images)
        return Score(min(max(right, 0), self.images) / self.images, float(loss))

    def confirm(self, counts: tuple[int, ...]) -> Score:
        """The same score: there are no images that could be split."""
        return self.score(counts)

    def test(self, counts: tuple[int, ...]) -> FinalScore:
        """The same score."""
        return FinalScore(*self.score(counts))


def log_ratios(counts: NDArray[np.int64], channels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Logarithms of the preserve ratios of channel counts ``(n, D)``."""
    return np.log(counts / np.asarray(channels))


def shifted(accuracy: NDArray[np.float64], images: int) -> NDArray[np.float64]:
    """Shares of wrong images, and one image more, so that they have a logarithm."""
    return 1 - accuracy + 1 / images


@dataclass(frozen=True)
class Fitted:
    """A task as it is in its file.

    Attributes:
        name: of the task.
        content: arrays by name, and ``about``: plain values as JSON.
    """

    name: str
    content: Mapping[str, NDArray[Any]]

    @cached_property
    def about(self) -> dict[str, Any]:
        """``preserve``, ``images``, ``evaluations`` (that were fitted), ``names``, ``types``, ``quality``."""
        return json.loads(str(self.content["about"]))

    def env(self) -> ChannelPruningEnv:
        """The real environment, with the budget of the recorded runs, on the fitted function."""
        return ChannelPruningEnv(self.evaluator(), preserve=self.about["preserve"])

    def evaluator(self) -> FittedEvaluator:
        """What scores policies."""
        channels = self.content["channels"].astype(np.int64)
        ends = np.cumsum(channels)[:-1]
        layers = {"name": self.about["names"], "type": self.about["types"]}
        layers |= {key: self.content[key].astype(np.int64) for key in _TABLE}
        layers["importance"] = np.split(self.content["importance"].astype(np.float64), ends)
        costs = {
            cost: CostModel.from_arrays({key: self.content[f"{cost}_{key}"] for key in ("weight", "inputs", "outputs")})
            for cost in COUNTED
        }
        fields = {key: self.content[key].astype(np.float64) for key in Surface.__dataclass_fields__ if key != "points"}
        surface = Surface(points=log_ratios(self.content["points"].astype(np.int64), channels), **fields)
        return FittedEvaluator(layers, costs, surface, int(self.about["images"]))


def load(name: str) -> Fitted:
    """The fitted task of this name, one of :data:`TASKS`."""
    with np.load(FOLDER / f"{name}.npz") as file:
        return Fitted(name, dict(file))


def save(folder: Path, name: str, evaluator: FittedEvaluator, surface: Surface, about: Mapping[str, Any]) -> Path:
    """Write a task's file; half the digits are enough for weights and importances."""
    layers = evaluator.layers
    arrays: dict[str, Any] = {key: np.asarray(layers[key]) for key in _TABLE}
    arrays["importance"] = np.concatenate(layers["importance"]).astype(np.float16)
    arrays |= {f"{cost}_{key}": part for cost in COUNTED for key, part in evaluator.costs[cost].to_arrays().items()}
    arrays |= {key: getattr(surface, key) for key in Surface.__dataclass_fields__}
    counts = np.rint(np.exp(surface.points) * layers["channels"])
    arrays |= {"points": counts.astype(np.uint16), "rest": surface.rest.astype(np.float32)}
    told = {"names": layers["name"], "types": layers["type"], "images": evaluator.images, **about}
    path = folder / f"{name}.npz"
    np.savez_compressed(path, about=np.array(json.dumps(told)), **arrays)
    return path
