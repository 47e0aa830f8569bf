"""A small made-up pruning task with a known optimum: what agents are checked and tried out on. No network, no torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from prunebench.envs.environment.channel_pruning import ChannelPruningEnv, FinalScore, Score
from prunebench.envs.environment.cost import CostModel


class ToyEvaluator:
    """A chain of ``n_layers`` convolutions of equal width whose images shrink with depth.

    The accuracy falls with the mean squared distance of the preserve ratios from ``target``, where it is 1.

    Args:
        n_layers: how many prunable layers.
        channels: of each layer.
        seed: of the target and of the channels' importance.
        constant: every policy scores the same.

    Attributes:
        target: ``(n_layers,)``, the best ratios where no budget forbids them, each in [0.2, 0.9].
        calls: how many policies were scored.
        seconds: nothing here takes time.
        layers: the layer table.
        costs: ``macs`` and ``parameters``.
    """

    def __init__(self, n_layers: int = 5, channels: int = 32, seed: int = 0, *, constant: bool = False) -> None:
        rng = np.random.default_rng(seed)
        width = np.full(n_layers, channels)
        size = np.maximum(32 // 2 ** (np.arange(n_layers) // 2), 1)
        self.target = rng.uniform(0.2, 0.9, n_layers)
        self.constant = constant
        self.calls = 0
        self.seconds = {"reconstruction": 0.0, "forward": 0.0}
        macs = size**2 * 9.0 * width * 16
        self.layers: dict[str, Any] = {
            "name": [f"layer{i}" for i in range(n_layers)],
            "type": ["conv"] * n_layers,
            "channels": width,
            "c_in": width,
            "c_out": np.full(n_layers, 16),
            "kernel": np.full(n_layers, 3),
            "stride": np.ones(n_layers, dtype=int),
            "height": size,
            "width": size,
            "macs": macs,
            "parameters": 9 * width * 16,
            "importance": [np.sort(rng.gamma(1 + i % 3, size=channels))[::-1] for i in range(n_layers)],
        }
        inputs = np.hstack([np.zeros((n_layers, 1)), np.eye(n_layers)])
        outputs = np.zeros((n_layers, n_layers + 1))
        outputs[:, 0] = 16
        self.costs = {
            "macs": CostModel(size**2 * 9.0, inputs, outputs),
            "parameters": CostModel(np.full(n_layers, 9.0), inputs, outputs),
        }

    def score(self, counts: tuple[int, ...]) -> Score:
        """The made-up score of channel counts."""
        self.calls += 1
        return self._score(counts)

    def confirm(self, counts: tuple[int, ...]) -> Score:
        """The same score: there are no images that could be split."""
        return self._score(counts)

    def test(self, counts: tuple[int, ...]) -> FinalScore:
        """The same score: there are no images that could be split."""
        return FinalScore(*self._score(counts))

    def _score(self, counts: tuple[int, ...]) -> Score:
        if self.constant:
            return Score(accuracy=0.5, loss=1.0)
        ratios = np.asarray(counts) / np.asarray(self.layers["channels"])
        distance = float(np.mean((ratios - self.target) ** 2))
        return Score(accuracy=float(np.exp(-4 * distance)), loss=4 * distance)


def toy_env(
    n_layers: int = 5, *, budget: str = "wall", preserve: float = 0.5, seed: int = 0, constant: bool = False
) -> ChannelPruningEnv:
    """The environment of the toy task.

    Args:
        n_layers: how many prunable layers.
        budget: ``wall`` or ``project``.
        preserve: the budget as a fraction of the dense network's MACs.
        seed: of the task. Take another one than the agent's: a random first policy could equal the target.
        constant: every policy scores the same.
    """
    return ChannelPruningEnv(ToyEvaluator(n_layers, seed=seed, constant=constant), budget=budget, preserve=preserve)
