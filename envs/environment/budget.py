"""The cost budget: AMC's action wall, and the exact projection of a policy onto the budget. Pure NumPy.

Policies are preserve ratios ``(D,)``; realised policies are channel counts ``(D,)``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prunebench.envs.environment.cost import CostModel

Ratios = NDArray[np.float64]
Counts = NDArray[np.int64]

_LOGIT_MARGIN = 1e-3  # ratios are moved this far off 0 and 1, where a shift along the logits has no effect
_MAX_SHIFT = 20.0  # from one end to the other: a ratio of 1 becomes one of 2e-6, below one channel of any layer
_BISECTIONS = 32  # to 1e-8 of a logit
_HAIR = 1e-9
_ROUNDING = 2.0**-50  # of a product of two fractions, relative: the ratio's own and the product's, and a little more


class BudgetError(ValueError):
    """No policy within the bounds meets the budget."""


def lowest(lower_bound: float, round_to: int) -> str:
    """The fewest channels that a layer keeps, in words for an error."""
    return f"lower bound {lower_bound:g}{f' and in multiples of {round_to} (round-to)' if round_to > 1 else ''}"


@dataclass(frozen=True)
class Budget:
    """An upper bound on the cost, and the lower bound on every preserve ratio.

    Attributes:
        cost: the closed-form cost.
        channels: ``(D,)``, channels of each prunable layer in the dense network.
        lower_bound: the smallest preserve ratio, in (0, 1].
        limit: the largest allowed cost, in the cost's own unit.
        fill: whether what is left of the budget is to be spent; not where the reward weighs the cost itself.
        mode: how the environment keeps to it, ``wall`` or ``project``.
        round_to: counts are multiples of it; see :attr:`block`.

    Raises:
        BudgetError: even the smallest policy exceeds ``limit``.
    """

    cost: CostModel
    channels: Counts
    lower_bound: float
    limit: float
    fill: bool = True
    mode: str = "wall"
    round_to: int = 1

    def __post_init__(self) -> None:
        least = float(self.cost(self.lower_counts))
        if least > self.limit:
            dense = float(self.cost(self.channels))
            raise BudgetError(
                f"a budget of {self.limit / dense:.4g} of the dense cost cannot be met: with every layer at its "
                f"{lowest(self.lower_bound, self.round_to)} the network still costs {least / dense:.4f}"
            )

    @classmethod
    def of(
        cls,
        cost: CostModel,
        channels: ArrayLike,
        lower_bound: float,
        preserve: float,
        fill: bool = True,
        round_to: int = 1,
    ) -> Budget:
        """The budget that allows a fraction of the dense network's cost: all of it where ``preserve`` is 1.

        Where costs are counted, the limit is the largest whole number that is no larger: 41 for 0.41 of 100, although
        their product in floating point is a little less.
        """
        channels = np.asarray(channels, dtype=np.int64)
        dense = float(cost(channels))
        limit = preserve * dense * (1 + _ROUNDING)
        limit = float(np.floor(limit)) if dense.is_integer() else limit
        return cls(cost, channels, lower_bound, limit, fill, round_to=round_to)

    @classmethod
    def from_info(cls, info: Mapping[str, Any]) -> Budget:
        """The budget of an environment, from the ``info`` that its ``reset`` returned."""
        cost = info["cost"]
        return cls(
            CostModel.from_arrays(cost),
            np.asarray(cost["channels"], dtype=np.int64),
            float(cost["lower_bound"]),
            float(cost["limit"]),
            bool(cost["fill"]),
            str(cost["mode"]),
            int(cost["round_to"]),
        )

    @cached_property
    def block(self) -> Counts:
        """``(D,)``: how many channels of each layer go or stay together.

        It is the largest common divisor of ``round_to`` and the layer's channels, so that the dense network has whole
        blocks, too.
        """
        return np.gcd(self.channels, self.round_to)

    @cached_property
    def lower_counts(self) -> Counts:
        """``(D,)``: the fewest channels each layer may keep; not to be written to."""
        lowest = self.counts(np.full(len(self.channels), self.lower_bound))
        blocks = np.ceil(self.lower_bound * self.channels / self.block - 1e-9).astype(np.int64)
        # Single channels are rounded to the nearest; of blocks that would be up to half a block below the bound.
        lowest = np.where(self.block > 1, np.maximum(blocks, 1) * self.block, lowest)
        lowest.flags.writeable = False
        return lowest

    def counts(self, ratios: ArrayLike) -> Counts:
        """Ratios ``(..., D)`` rounded to channel counts (half up, at least one block)."""
        blocks = self.channels // self.block
        exact = np.asarray(ratios, dtype=np.float64) * blocks
        return np.clip(np.floor(exact + 0.5), 1, blocks).astype(np.int64) * self.block

    def count(self, layer: int, ratio: float) -> int:
        """The ratio of one layer rounded to its channel count, as :meth:`counts` does."""
        block, channels = int(self.block[layer]), int(self.channels[layer])
        return min(max(math.floor(ratio * (channels // block) + 0.5), 1), channels // block) * block

    def ratios(self, counts: ArrayLike) -> Ratios:
        """Channel counts ``(..., D)`` as preserve ratios."""
        return np.asarray(counts, dtype=np.float64) / self.channels

    def feasible(self, counts: ArrayLike) -> bool:
        """Whether channel counts ``(D,)`` meet the budget."""
        return bool(self.cost(counts) <= self.limit)

    def wall(self, kept: ArrayLike, ratio: float) -> int:
        """AMC's action wall (He et al. 2018, algorithm 1) for the layer after those already decided.

        Args:
            kept: ``(t,)``, the channel counts of layers ``0 .. t-1``.
            ratio: the requested preserve ratio of layer ``t``.

        Returns:
            The requested channel count of layer ``t``, reduced until the later ones can stay at their lower bound.
        """
        counts = self.lower_counts.copy()
        t = len(np.atleast_1d(np.asarray(kept, dtype=np.int64)))
        counts[:t] = kept
        low = int(counts[t])
        wanted = max(low, self.count(t, ratio))
        steps = np.arange(low, wanted + 1, self.block[t])
        trials = np.repeat(counts[None], len(steps), axis=0)
        trials[:, t] = steps
        fitting = int(np.sum(self.cost(trials) <= self.limit))  # the cost grows with every channel
        return int(steps[max(fitting - 1, 0)])

    def shift(self, ratios: ArrayLike) -> Ratios:
        """Shift policies along their logits until the unrounded cost meets the budget; those below it only where it is
        to be filled.

        Args:
            ratios: ``(..., D)``.

        Returns:
            ``(..., D)``, each ratio in [lower bound, 1]; everything 1 where the budget allows the dense network.
        """
        if self.fill and self.feasible(self.channels):
            return np.ones_like(np.asarray(ratios, dtype=np.float64))
        start = np.clip(np.asarray(ratios, dtype=np.float64), _LOGIT_MARGIN, 1 - _LOGIT_MARGIN)
        logits = np.log(start) - np.log1p(-start)
        lowest = self.ratios(self.lower_counts)

        def shifted(by: NDArray[np.float64]) -> Ratios:
            return np.clip(1 / (1 + np.exp(-(logits + by[..., None]))), lowest, 1.0)

        low = np.full(start.shape[:-1], -_MAX_SHIFT)
        high = np.full(start.shape[:-1], _MAX_SHIFT if self.fill else 0.0)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            fits = self.cost(shifted(middle) * self.channels) <= self.limit
            low, high = np.where(fits, middle, low), np.where(fits, high, middle)
        return shifted(low)

    def project(self, ratios: ArrayLike) -> Counts:
        """The on-budget channel counts of a policy ``(D,)``: shifted along its logits, rounded down, then filled.

        Where the budget need not be filled a policy that meets it is only rounded. The result never exceeds the
        budget and no single further block would fit. A policy that already has both properties is returned
        unchanged, so the projection is idempotent.
        """
        rounded = np.maximum(self.counts(ratios), self.lower_counts)
        if self.feasible(rounded) and not (self.fill and self._fitting(rounded).any()):
            return rounded
        ideal = self.shift(ratios) * self.channels
        counts = np.maximum(np.floor(ideal / self.block).astype(np.int64) * self.block, self.lower_counts)
        while (fits := self._fitting(counts)).any():
            self._fill(counts, ideal, fits)
        return counts

    def uniform(self) -> Counts:
        """The on-budget counts ``(D,)`` of one ratio everywhere that spend the whole budget, whether that pays or not.

        Up to whole channels: the ratios are rounded down, and what is left of the budget is filled.
        """
        return replace(self, fill=True).project(np.full(len(self.channels), 0.5))  # any constant will do

    def realised(self, ratios: ArrayLike) -> Counts:
        """The counts ``(D,)`` that the environment makes of requested ratios ``(D,)``."""
        if self.mode == "project":
            return self.project(ratios)
        rounded = np.maximum(self.counts(ratios), self.lower_counts)
        if self.feasible(rounded):
            return rounded  # the wall leaves it as it is
        kept: list[int] = []
        for ratio in np.asarray(ratios, dtype=np.float64):
            kept.append(self.wall(kept, float(ratio)))
        return np.array(kept, dtype=np.int64)

    def _fill(self, counts: Counts, ideal: Ratios, fits: NDArray[np.bool_]) -> None:
        """Give ``counts`` ``(D,)`` single blocks more, in place, first where ``ideal`` is furthest above them.

        What a block more of each layer costs is kept up to date, not computed anew for every layer. Where sums are
        rounded that is done up to a hair below the limit.
        """
        limit = self.limit if self.cost.whole else self.limit * (1 - _HAIR)
        block, coupling = self.block, self.cost.coupling
        cost, step = float(self.cost(counts)), self.cost.change(counts, block)
        while fits.any():
            layer = int(np.argmax(np.where(fits, (ideal - counts) / block, -np.inf)))
            counts[layer] += block[layer]
            cost, step = cost + step[layer], step + block[layer] * block * coupling[layer]
            fits = (counts < self.channels) & (cost + step <= limit)

    def _fitting(self, counts: Counts) -> NDArray[np.bool_]:
        """``(D,)``: which layers could keep one block more."""
        if self.cost.whole:
            more = self.cost(counts) + self.cost.change(counts, self.block)
        else:
            more = self.cost(counts + np.diag(self.block))  # to the bit as `feasible` will see it
        return (counts < self.channels) & (more <= self.limit)
