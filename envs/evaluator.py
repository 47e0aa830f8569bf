"""From channel counts to accuracy: the physically smaller network, run on the reward split."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from cachetools import LRUCache
from numpy.typing import NDArray
from torch import Tensor, nn

from envs.importance import importance, ranks
from envs.network import PrunableNetwork, Unit
from envs.pruning_env import Score
from envs.reconstruction import Reconstruction, reconstructed_units

_CACHE_BYTES = 256 << 20

Images = tuple[Tensor, Tensor]  # normalised (N, C, H, W) float32, and labels (N,)


class Evaluator:
    """Scores realised policies of one network on fixed images.

    Args:
        network: the dense network and its prunable layers.
        grams: Gram matrices of :func:`envs.reconstruction.gram_matrices`.
        reward: images and labels of the reward split.
        test: returns images and labels of the test split; called when the test split is first used.
        batch_size: images per forward pass. It changes the last bits, so it is part of an experiment.

    Attributes:
        layers: the layer table.
        costs: closed-form ``macs`` and ``parameters``.
        reward_batches: the reward split as it is scored.
        images: number of images of the ``reward`` and (once used) the ``test`` split.
        seconds: time spent so far on ``reconstruction`` (building the small network) and ``forward``.
    """

    def __init__(
        self,
        network: PrunableNetwork,
        grams: Mapping[str, Tensor],
        reward: Images,
        test: Callable[[], Images],
        batch_size: int,
    ) -> None:
        self.network = network
        scores = [importance(layer) for layer in network.layers]
        self._ranks = [ranks(score) for score in scores]
        self.layers = network.table(scores)
        self.costs = network.costs()
        self.seconds = {"reconstruction": 0.0, "forward": 0.0}
        self._problems = {
            unit.name: Reconstruction(unit, grams[unit.name], self._ranks) for unit in reconstructed_units(network)
        }
        self._folds = {unit.name: unit.fold() for unit in network.units}
        self._weights: LRUCache[tuple[object, ...], tuple[Tensor, Tensor]] = LRUCache(
            _CACHE_BYTES, getsizeof=lambda pair: pair[0].nbytes + pair[1].nbytes
        )
        self.reward_batches = _batches(reward, batch_size)
        self.images = {"reward": len(reward[1])}
        self._test = test
        self._test_batches: list[Images] | None = None
        self._batch_size = batch_size

    @property
    def dense(self) -> tuple[int, ...]:
        """The dense network's channel counts."""
        return tuple(self.network.channels)

    def score(self, counts: Sequence[int]) -> Score:
        """Score channel counts ``(D,)`` on the reward split."""
        return self._run(counts, self.reward_batches)

    def test(self, counts: Sequence[int]) -> Score:
        """Score channel counts ``(D,)`` on the test split: for final answers only."""
        if self._test_batches is None:
            images = self._test()
            self.images["test"] = len(images[1])
            self._test_batches = _batches(images, self._batch_size)
        return self._run(counts, self._test_batches)

    def build(self, counts: Sequence[int]) -> nn.Module:
        """The physically smaller network of channel counts ``(D,)``; valid until the next call."""
        counts = tuple(counts)
        return self.network.small(lambda unit: self._cached_weights(unit, counts))

    def _run(self, counts: Sequence[int], batches: list[Images]) -> Score:
        started = time.perf_counter()
        model = self.build(counts)
        built = time.perf_counter()
        score = score_batches(model, batches)
        self.seconds["reconstruction"] += built - started
        self.seconds["forward"] += time.perf_counter() - built
        return score

    def _cached_weights(self, unit: Unit, counts: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        sides = (unit.inputs.layers, unit.outputs.layers)
        key = (unit.name, *(tuple(counts[g] for g in side) for side in sides))
        pair = self._weights.get(key)
        if pair is None:
            pair = self._folded_weights(unit, counts)
            if pair[0].nbytes + pair[1].nbytes <= _CACHE_BYTES:
                self._weights[key] = pair
        return pair

    def _folded_weights(self, unit: Unit, counts: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Weights of the kept inputs and outputs, refitted where inputs are missing, with batch norm folded in."""
        outputs = unit.outputs.kept(counts, self._ranks)
        weight = self._plain_weight(unit, counts, outputs)
        scale, shift = (part[outputs].to(weight.device) for part in self._folds[unit.name])
        folded = (weight * scale.view(-1, *[1] * (weight.dim() - 1))).float()
        if folded.dim() == 4:
            folded = folded.contiguous(memory_format=torch.channels_last)
        return folded, shift.float()

    def kept_inputs(self, unit: Unit, counts: Sequence[int]) -> NDArray[np.int64]:
        """Input positions of a unit that channel counts ``(D,)`` keep, ascending."""
        return unit.inputs.kept(counts, self._ranks)

    def _plain_weight(self, unit: Unit, counts: tuple[int, ...], outputs: NDArray[np.int64]) -> Tensor:
        """The unit's weight for channel counts and chosen outputs, before batch norm is folded in."""
        dense = unit.module.weight.detach()
        if unit.depthwise:
            return dense[outputs]
        inputs = self.kept_inputs(unit, counts)
        if len(inputs) == dense.shape[1]:
            return dense[outputs]
        solved = self._problems[unit.name].weight(len(inputs), outputs)
        return solved.reshape(len(outputs), len(inputs), *dense.shape[2:]).to(dense.device)


def score_batches(model: nn.Module, batches: list[Images]) -> Score:
    """Top-1 accuracy and mean cross-entropy of a network on batches of images."""
    correct, loss, total = 0, 0.0, 0
    with torch.inference_mode():
        for images, labels in batches:
            logits = model(images)
            correct += int((logits.argmax(1) == labels).sum())
            loss += float(nn.functional.cross_entropy(logits.double(), labels, reduction="sum"))
            total += len(labels)
    return Score(correct / total, loss / total)


def _batches(images: Images, batch_size: int) -> list[Images]:
    pixels = images[0].contiguous(memory_format=torch.channels_last)
    return list(zip(torch.split(pixels, batch_size), torch.split(images[1], batch_size), strict=True))
