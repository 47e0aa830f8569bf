"""From channel counts to accuracy: the physically smaller network, run on the reward split."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

import numpy as np
import torch
from cachetools import LRUCache
from numpy.typing import NDArray
from torch import Tensor, nn

from prunebench.envs.data.batches import Batch, Batches
from prunebench.envs.device import largest_fitting, synchronise
from prunebench.envs.environment import hits
from prunebench.envs.environment.channel_pruning import FinalScore, Score
from prunebench.envs.errors import TaskError
from prunebench.envs.evaluation.calibration import Calibration
from prunebench.envs.evaluation.fused import FusedNetwork
from prunebench.envs.evaluation.reconstruction import problem, reconstructed_units
from prunebench.envs.pruning import cost_formulas
from prunebench.envs.pruning.criteria import ranks
from prunebench.envs.pruning.layers import BatchNorm, Unit
from prunebench.envs.pruning.network import PrunableNetwork
from prunebench.envs.pruning.small import SmallNetwork

_CACHE_BYTES = 256 << 20

Scored = tuple[Score, NDArray[np.bool_]]


class Evaluator:
    """Scores realised policies of one network on fixed images.

    Args:
        network: the dense network and its prunable layers.
        calibration: of the network.
        reward: the reward split.
        test: returns the test split; called when it is first used.
        recalibration: images from which batch norm takes its statistics anew for every policy; None leaves the dense
            network's, folded into the layers.
        confirm: returns the confirm split, where there is one; called when it is first used.

    Attributes:
        layers: the layer table.
        costs: closed-form ``macs`` and ``parameters``.
        reward: the reward split as it is scored.
        images: number of images of the ``reward`` and (once used) the ``test`` and the ``confirm`` split.
        seconds: time spent so far on ``reconstruction`` (building the small network) and ``forward``.
    """

    def __init__(
        self,
        network: PrunableNetwork,
        calibration: Calibration,
        reward: Batches,
        test: Callable[[], Batches],
        recalibration: Batches | None = None,
        confirm: Callable[[], Batches] | None = None,
    ) -> None:
        self.network = network
        self._calibration = calibration
        self.layers = network.table(calibration.scores)
        self.costs = {"macs": cost_formulas.macs(network), "parameters": cost_formulas.parameters(network)}
        self.reward = reward
        self.images = {"reward": reward.images}
        self.seconds = {"reconstruction": 0.0, "forward": 0.0}
        self.device = network.example.device
        self._ranks = [ranks(score) for score in calibration.scores]
        self._problems = {
            unit.name: problem(unit, _moved(calibration.problems[unit.name], self.device), self._ranks)
            for unit in reconstructed_units(network)
            if calibration.problems
        }
        self._small = SmallNetwork(network, folded=recalibration is None)
        self._folds = {unit.name: unit.fold() for unit in network.units if recalibration is None and unit.plain}
        self._weights: LRUCache[tuple[object, ...], tuple[Tensor, Tensor | None]] = LRUCache(
            _CACHE_BYTES, getsizeof=_nbytes
        )
        self._recalibration = recalibration
        self._later = {"test": test} | ({} if confirm is None else {"confirm": confirm})
        self._read: dict[str, Batches] = {}
        self._fused: FusedNetwork | None = None

    @property
    def recomputes(self) -> bool:
        """Whether batch norm takes its statistics anew for every policy."""
        return self._recalibration is not None

    @property
    def dense(self) -> tuple[int, ...]:
        """The dense network's channel counts."""
        return tuple(self.network.channels)

    def score(self, counts: Sequence[int]) -> Score:
        """Score channel counts ``(D,)`` on the reward split.

        Raises:
            TaskError: a batch does not fit into the GPU's memory; says which would.
        """
        return self._run(counts, self.reward)[0]

    def confirm(self, counts: Sequence[int]) -> Score:
        """Score channel counts ``(D,)`` on the confirm split: for the best policies of a search, once it is over."""
        return self._run(counts, self._split("confirm"))[0]

    def test(self, counts: Sequence[int]) -> FinalScore:
        """Score channel counts ``(D,)`` on the test split: for final answers only."""
        score, right = self._run(counts, self.test_split())
        return FinalScore(*score, hits.packed(right))

    def test_split(self) -> Batches:
        """The test split as it is scored."""
        return self._split("test")

    def _split(self, name: str) -> Batches:
        if name not in self._read:
            self._read[name] = self._later[name]()
            self.images[name] = self._read[name].images
        return self._read[name]

    def build(self, counts: Sequence[int]) -> nn.Module:
        """The physically smaller network of channel counts ``(D,)``; valid until the next call."""
        counts = tuple(counts)
        model = self._small.fill(
            lambda unit: self._cached_weights(unit, counts), lambda dimension: dimension.kept(counts, self._ranks)
        )
        if self._recalibration is not None and counts != self.dense:
            recalibrate(model, self._small.norms, self._recalibration)
        return model

    def unfolded(self, counts: Sequence[int]) -> nn.Module:
        """A network of its own that computes what :meth:`build` does, with its batch norms, and can be trained."""
        counts = tuple(counts)
        if self._recalibration is not None:
            model = copy.deepcopy(self.build(counts))
        else:
            small = SmallNetwork(self.network, folded=False)
            model = small.fill(
                lambda unit: self._packed(unit, *self._plain_weights(unit, counts)),
                lambda dimension: dimension.kept(counts, self._ranks),
            )
        for parameter in model.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        return model

    def fuse(self) -> None:
        """From now on run convolutions together with what follows them, see :mod:`prunebench.envs.evaluation.fused`.

        Raises:
            Exception: of whatever kind, where that cannot be done with this network on this device.
        """
        self._fused = FusedNetwork(self.build(self.dense), self.network, folded=not self.recomputes)

    def unfuse(self) -> None:
        """From now on run networks as they are."""
        self._fused = None

    def runner(self, counts: Sequence[int]) -> Callable[[Tensor], Tensor]:
        """What channel counts ``(D,)`` are scored with: images ``(N, C, H, W)`` to logits, until the next call."""
        model = self.build(counts)
        return self._fused if self._fused is not None and self._fused.finite else model

    def folded(self) -> Evaluator:
        """An evaluator of the same networks that never recomputes batch norm but folds it: for timing them."""
        if self._recalibration is None:
            return self
        return Evaluator(self.network, self._calibration, self.reward, self._later["test"])

    def kept_inputs(self, unit: Unit, counts: Sequence[int]) -> NDArray[np.int64]:
        """Input positions of a unit that channel counts ``(D,)`` keep, ascending."""
        return unit.inputs.kept(counts, self._ranks)

    def _run(self, counts: Sequence[int], batches: Batches) -> Scored:
        score = self._timed_score(counts, batches)
        if score is None:  # asked only now: while the error is handled, it keeps what it failed with in memory
            self._refuse_batch_size(batches)
        return score

    def _timed_score(self, counts: Sequence[int], batches: Batches) -> Scored | None:
        """The score, or None where the GPU's memory did not suffice."""
        started = time.perf_counter()
        try:
            run = self.runner(counts)
            synchronise(self.device)
            built = time.perf_counter()
            score = score_with_hits(run, batches)
        except torch.cuda.OutOfMemoryError:
            return None
        self.seconds["reconstruction"] += built - started
        self.seconds["forward"] += time.perf_counter() - built
        return score

    def _refuse_batch_size(self, batches: Batches) -> NoReturn:
        """Say which batch size would fit: the dense network needs the most memory."""
        model = self.build(self.dense)
        fits = largest_fitting(batches.size, lambda size: score_batches(model, [next(iter(batches.resized(size)))]))
        advice = f"--batch-size {fits} would fit" if fits else "not even one image fits"
        raise TaskError(f"batch-size {batches.size} does not fit into the GPU's memory: {advice}")

    def _cached_weights(self, unit: Unit, counts: tuple[int, ...]) -> tuple[Tensor, Tensor | None]:
        sides = (unit.inputs.layers, unit.outputs.layers)
        key = (unit.name, *(tuple(counts[g] for g in side) for side in sides))
        pair = self._weights.get(key)
        if pair is None:
            pair = self._final_weights(unit, counts)
            if _nbytes(pair) <= _CACHE_BYTES:
                self._weights[key] = pair
        return pair

    def _final_weights(self, unit: Unit, counts: tuple[int, ...]) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of the kept channels, refitted where inputs are missing, with batch norm folded in."""
        weight, bias = self._plain_weights(unit, counts)
        if unit.name in self._folds:
            outputs = unit.outputs.kept(counts, self._ranks)
            scale, bias = (part[outputs] for part in self._folds[unit.name])
            weight = weight * scale.view(-1, *[1] * (weight.dim() - 1))
        return self._packed(unit, weight, bias)

    def _packed(self, unit: Unit, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """A layer's weight and bias as they are run: of its own precision, in the network's layout."""
        precision = unit.module.weight.dtype
        layout = self.network.layout if weight.dim() == 4 else torch.contiguous_format
        bias = None if bias is None else bias.to(precision)
        return weight.to(precision).contiguous(memory_format=layout), bias

    def _plain_weights(self, unit: Unit, counts: tuple[int, ...]) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of the kept channels, refitted where inputs are missing, before batch norm is folded in."""
        outputs = unit.outputs.kept(counts, self._ranks)
        bias = None if unit.module.bias is None else unit.module.bias.detach()[outputs]
        return self._plain_weight(unit, counts, outputs), bias

    def _plain_weight(self, unit: Unit, counts: tuple[int, ...], outputs: NDArray[np.int64]) -> Tensor:
        """The unit's weight for channel counts and chosen outputs, before batch norm is folded in."""
        dense = unit.module.weight.detach()
        if unit.grouped:
            return dense[outputs]
        inputs = self.kept_inputs(unit, counts)
        if len(inputs) == dense.shape[1] or unit.name not in self._problems:
            return dense[outputs][:, inputs]
        solved = self._problems[unit.name].weight(inputs, outputs)
        return solved.reshape(len(outputs), len(inputs), *dense.shape[2:])


def score_batches(model: Callable[[Tensor], Tensor], batches: Iterable[Batch]) -> Score:
    """Top-1 accuracy and mean cross-entropy of a network on batches of images."""
    return score_with_hits(model, batches)[0]


def score_with_hits(model: Callable[[Tensor], Tensor], batches: Iterable[Batch]) -> Scored:
    """What :func:`score_batches` says, and on which images the network was right, ``(N,)``."""
    right, loss = [], 0.0
    with torch.inference_mode():
        for images, labels in batches:
            logits = model(images)
            right.append(logits.argmax(1) == labels)
            loss += float(nn.functional.cross_entropy(logits.double(), labels, reduction="sum"))
        found = torch.cat(right).cpu().numpy()
    return Score(int(found.sum()) / len(found), loss / len(found)), found


def recalibrate(model: nn.Module, norms: Iterable[BatchNorm], batches: Batches) -> None:
    """Give batch norms the statistics of their present inputs: means over the batches, layer upon layer at once."""
    norms = list(norms)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
        norm.train()
    with torch.no_grad():
        for images, _ in batches:
            model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval()
        norm.momentum = momentum


def _moved(tensors: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def _nbytes(pair: tuple[Tensor, Tensor | None]) -> int:
    return pair[0].nbytes + (0 if pair[1] is None else pair[1].nbytes)
