"""Latency from channel counts: every layer timed in place, smoothed into a cost, checked against whole networks.

Hardware-aware pruning commonly looks the latency of a layer up by its channel counts (NetAdapt, Yang et al. 2018,
section 3.2). Here the table is smoothed so that a channel more never costs less: the budget relies on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.stats import spearmanr
from torch import Tensor

from prunebench.envs.environment.budget import Budget, Counts
from prunebench.envs.environment.cost import CostModel
from prunebench.envs.evaluation.evaluator import Evaluator
from prunebench.envs.evaluation.timing import Seconds, interleaved, typical, whole_networks
from prunebench.envs.progress import Progress, silent
from prunebench.envs.pruning.network import PrunableNetwork

NETWORKS, POLICIES = 40, 20
CHECK_ROUNDS = 3  # of each measurement: more do not make a good prediction pass more often (docs/latency.md)
LAYER_ROUNDS = 1  # what one network's noise does to a layer, the others' times make up for (docs/latency.md)
LOWER_BOUND = 0.1  # of the ratios that are timed

_QUANTUM = 2.0**-20  # nanoseconds; coefficients are multiples of it, so that costs of whole counts add up exactly
BAND = 0.04  # MACs of the check's policies: at most 1.04 / 0.96 apart, less than 10 %

# A prediction cannot rank much better than the measurement repeats itself, so most of that is what is asked for; and
# 0.5, which chance exceeds in one case of 75 with 20 policies, where the measurement hardly repeats itself.
_SHARE_OF_CEILING, _LEAST_CORRELATION = 0.8, 0.5


@dataclass(frozen=True)
class UnitTimes:
    """The table of one convolution or linear layer, with what follows it up to the next one.

    Attributes:
        name: of the module.
        inputs: ``(N,)``, kept inputs.
        outputs: ``(N,)``, kept outputs.
        seconds: ``(N,)``, per batch.
    """

    name: str
    inputs: NDArray[np.float64]
    outputs: NDArray[np.float64]
    seconds: Seconds


@dataclass(frozen=True)
class LatencyTable:
    """Times of every unit, and under which conditions they were taken.

    Attributes:
        units: in the order of their calls.
        images: batch size.
        threads: of the processor.
        device: ``cpu`` or ``cuda``.
    """

    units: list[UnitTimes]
    images: int
    threads: int
    device: str


@dataclass(frozen=True)
class LatencyCheck:
    """Predicted against measured latency of random policies whose MACs are nearly the same.

    Attributes:
        counts: ``(P, D)``, channel counts.
        predicted: ``(P,)``, seconds per batch.
        measurements: ``(2, P)``, seconds per batch, measured twice.
    """

    counts: Counts
    predicted: Seconds
    measurements: Seconds

    @property
    def measured(self) -> Seconds:
        """``(P,)``: the mean of the two measurements."""
        return self.measurements.mean(axis=0)

    @property
    def rank_correlation(self) -> float:
        """Spearman's, of predicted with measured latency; NaN where one of them is constant."""
        return rank_correlation(self.predicted, self.measured)

    @property
    def ceiling(self) -> float:
        """Spearman's, of the two measurements with each other."""
        return rank_correlation(*self.measurements)

    @property
    def error(self) -> float:
        """Mean absolute error of the prediction, as a fraction of the measured latency."""
        return float(np.mean(np.abs(self.predicted / self.measured - 1)))

    @property
    def holds(self) -> bool:
        """Whether predictions rank policies well enough for latency to be a budget."""
        return self.rank_correlation >= max(_SHARE_OF_CEILING * self.ceiling, _LEAST_CORRELATION)

    @property
    def sentence(self) -> str:
        """The outcome and its reason, for people."""
        verdict = "latency may be a budget here" if self.holds else "latency may not be a budget here"
        advice = "" if self.holds else "; on a busy machine it cannot be predicted: try again when it is idle"
        return (
            f"{verdict}: among {len(self.counts)} policies of nearly the same MACs predicted and measured latency have "
            f"rank correlation {self.rank_correlation:.2f}, two measurements {self.ceiling:.2f} "
            f"(expected: at least {_LEAST_CORRELATION:g}, and {_SHARE_OF_CEILING:g} of the latter){advice}"
        )


def rank_correlation(ours: Seconds, theirs: Seconds) -> float:
    """Spearman's rank correlation of two ``(P,)``; NaN where one of them is constant."""
    if np.ptp(ours) == 0 or np.ptp(theirs) == 0:
        return float("nan")
    return float(spearmanr(ours, theirs).statistic)


def measure(
    evaluator: Evaluator,
    batch: Tensor,
    *,
    networks: int = NETWORKS,
    rounds: int = LAYER_ROUNDS,
    seed: int = 0,
    progress: Progress = silent,
) -> LatencyTable:
    """Time every unit in place, in whole small networks.

    A unit's time runs to the start of the next unit, so that activations, additions and pooling are part of it. The
    networks are the dense one and a Latin hypercube: every prunable layer takes ``networks`` ratios, evenly spaced
    from the lower bound to 1, in an order of its own, so that inputs and outputs of every unit vary apart.

    Args:
        evaluator: builds the networks; it should fold batch norm (no recalibration), which every build would repeat.
        batch: ``(N, C, H, W)``, normalised, on the device.
        networks: how many, besides the dense one.
        rounds: times that each is run, see :func:`prunebench.envs.evaluation.timing.typical`.
        seed: of the hypercube.
        progress: see :mod:`prunebench.envs.progress`.
    """
    network = evaluator.network
    policies = np.vstack([network.channels, _hypercube(network.channels, networks, seed)])
    names = [unit.name for unit in network.units]
    seconds = typical(interleaved(evaluator, policies, batch, rounds, names, progress, "timing the layers"))
    units = []
    for unit, taken in zip(network.units, seconds.T, strict=True):
        n_in, n_out = (side[0] + policies @ side[1:] for side in unit.sides(network.channels))
        units.append(UnitTimes(unit.name, n_in, n_out, taken))
    return LatencyTable(units, len(batch), torch.get_num_threads(), batch.device.type)


def fit(network: PrunableNetwork, table: LatencyTable) -> CostModel:
    """The table smoothed into a cost, in nanoseconds per image, that no channel more makes smaller.

    Per unit ``a + b n_in + c n_out + d n_in n_out`` with coefficients that are not negative. What is linear in the
    channel counts is one term of the cost for all units together.
    """
    one = np.eye(1, len(network.channels) + 1)[0]
    linear = np.zeros(len(one))
    terms = [(1.0, linear, one)]
    for unit, times in zip(network.units, table.units, strict=True):
        n_in, n_out = unit.sides(network.channels)
        a, b, c, d = np.rint(smooth(times) * 1e9 / table.images / _QUANTUM) * _QUANTUM
        linear += a * one + b * n_in + c * n_out
        if d:
            terms.append((float(d), n_in, n_out))
    weight, inputs, outputs = zip(*terms, strict=True)
    return CostModel(np.array(weight), np.array(inputs), np.array(outputs))


def smooth(times: UnitTimes) -> NDArray[np.float64]:
    """``(4,)``: seconds for being called, per input, per output and per pair of them; none is negative.

    Least squares of ``(fitted - t) / sqrt(t)``: between relative errors, which leave large times too small, and
    absolute ones, in which small times do not count.
    """
    largest = times.inputs.max(), times.outputs.max()
    x, y = times.inputs / largest[0], times.outputs / largest[1]
    mean = times.seconds.mean()
    root = np.sqrt(np.maximum(times.seconds / mean, 1e-6))  # a coarse clock may say 0
    columns = np.stack([np.ones_like(x), x, y, x * y], axis=1)
    solution, _ = nnls(columns / root[:, None], root)
    return solution * mean / np.array([1.0, largest[0], largest[1], largest[0] * largest[1]])


def check(
    evaluator: Evaluator,
    cost: CostModel,
    batch: Tensor,
    *,
    policies: int = POLICIES,
    preserve: float = 0.5,
    seed: int = 0,
    progress: Progress = silent,
) -> LatencyCheck:
    """Compare a fitted latency with whole networks, measured twice, in rounds that take turns.

    Args:
        evaluator: builds the networks.
        cost: of :func:`fit`, for the same batch size, threads and device.
        batch: ``(N, C, H, W)``, normalised, on the device.
        policies: how many are drawn.
        preserve: their MACs, about, as a fraction of the dense network's.
        seed: of the policies.
        progress: see :mod:`prunebench.envs.progress`.

    Raises:
        BudgetError: no policy has that few MACs.
    """
    counts = similar_policies(evaluator, policies, preserve, seed)
    taken = whole_networks(evaluator, counts, batch, 2 * CHECK_ROUNDS, progress)
    measurements = np.array([typical(taken[half::2]) for half in range(2)])
    return LatencyCheck(counts, cost(counts) * len(batch) / 1e9, measurements)


def similar_policies(evaluator: Evaluator, count: int, preserve: float, seed: int) -> Counts:
    """``(count, D)``: random channel counts whose MACs are within 10 % of each other, about ``preserve`` of the dense.

    Raises:
        BudgetError: no policy has that few MACs.
    """
    rng = np.random.default_rng(seed)
    macs, channels = evaluator.costs["macs"], np.array(evaluator.dense)
    limits = preserve * float(macs(channels)) * rng.uniform(1 - BAND, 1 + BAND, count)
    ratios = rng.uniform(LOWER_BOUND, 1, (count, len(channels)))
    budgets = [Budget(macs, channels, LOWER_BOUND, float(limit)) for limit in limits]
    return np.array([budget.project(policy) for budget, policy in zip(budgets, ratios, strict=True)])


def _hypercube(channels: Sequence[int], networks: int, seed: int) -> Counts:
    """``(networks, D)``, channel counts."""
    ratios = np.tile(np.linspace(LOWER_BOUND, 1, networks)[:, None], len(channels))
    shuffled = np.random.default_rng(seed).permuted(ratios, axis=0)
    return np.maximum(np.floor(shuffled * channels + 0.5), 1).astype(np.int64)
