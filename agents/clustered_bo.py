"""Bayesian optimisation with clustering and roll-back (BOCR: Fan, Mu, Zhang, ECCV 2022, arXiv 2109.10591)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prunebench.agents.bo import BOAgent
from prunebench.agents.parts.clustering import DISTANCES, Similarity, cut, ward
from prunebench.agents.parts.outcomes import Signal
from prunebench.agents.parts.proposal import PolicySpace
from prunebench.agents.parts.surrogate import PresetName

PAPER_CLUSTERS = {27: (3, 9), 13: (6, 9), 18: (6, 15)}  # ResNet-56, MobileNetV1, MobileNetV2
ELITE = 10  # policies whose ratios bound the search after a roll-back
ELITE_COST = 0.01  # how far their cost may lie from the budget, as a fraction of the dense network's


class RollBack(NamedTuple):
    """When a stage ends: at ``latest`` evaluations, but from ``earliest`` on also after ``patience`` stalled ones.

    Stalled: without improvement on the best outcome of the whole run, the newest evaluation left out: BOCR looks at its
    counter before it counts.
    """

    earliest: int
    latest: int
    patience: int

    def scaled(self, evaluations: int) -> RollBack:
        """The same fractions of a run of ``evaluations`` as these are of the paper's, rounded up."""
        return RollBack(*(math.ceil(number * evaluations / PAPER_EVALUATIONS) for number in self))

    def due(self, rewards: ArrayLike) -> bool:
        """Whether to roll back now that ``rewards`` ``(n,)`` were earned."""
        before = np.asarray(rewards)[:-1]
        done = len(before) + 1
        stalled = len(before) - 1 - int(np.argmax(before)) if len(before) else 0
        return done >= self.earliest and (done >= self.latest or stalled >= self.patience)


PAPER_EVALUATIONS = 200
FIRST, SECOND = RollBack(80, 100, 20), RollBack(130, 150, 20)
SCHEDULES = {"none": (), "direct": (FIRST,), "gradual": (FIRST, SECOND)}
"""The roll-backs of each kind, in evaluations of the paper's 200."""


def default_clusters(layers: int) -> tuple[int, int]:
    """Clusters of the first and of the second stage for a network of ``layers`` prunable layers.

    The paper's numbers for its three networks. It gives no rule; for other depths: about half of the
    layers, at most 6, and 3 beyond 20 layers; then the geometric mean of that and all of them (which is
    what the paper has for 13 and 27 layers).
    """
    if layers in PAPER_CLUSTERS:
        return PAPER_CLUSTERS[layers]
    first = 3 if layers > 20 else min(6, math.ceil(layers / 2))
    return first, round(math.sqrt(first * layers))


def elite_bounds(realised: ArrayLike, rewards: ArrayLike, off_budget: ArrayLike) -> tuple[float, float] | None:
    """The smallest and the largest ratio anywhere in the best ten policies that are on budget.

    Args:
        realised: ``(n, D)``, policies.
        rewards: ``(n,)``.
        off_budget: ``(n,)``, distance of each policy's cost from the budget, as a fraction of the dense network's.

    Returns:
        The pair; of fewer than ten such policies where there are no more; None where there is none, or
        where all their ratios are equal and the pair would leave nothing to search.
    """
    eligible = np.flatnonzero(np.asarray(off_budget) <= ELITE_COST)
    elite = eligible[np.argsort(-np.asarray(rewards)[eligible], kind="stable")[:ELITE]]
    ratios = np.asarray(realised, dtype=np.float64)[elite]
    if ratios.size == 0 or ratios.min() == ratios.max():
        return None
    return float(ratios.min()), float(ratios.max())


class ClusteredBOAgent(BOAgent):
    """BO over one ratio per cluster of layers, then per smaller cluster, then per layer.

    Attributes:
        notes: kept with the run: ``similarity``; ``tree`` (Ward linkage of the layers, ``D - 1`` rows of
            four numbers); ``stages`` (per stage, each layer's cluster); ``events`` (one dict per roll-back:
            ``evaluation``, how many were finished; ``stage``, the one entered, from 1; ``low`` and ``high``, the
            bounds from there on).

    Args:
        seed: the seed of the initial design and the candidates.
        preset: as in :class:`prunebench.agents.bo.BOAgent`; or ``paper``: ``gpyopt2021`` and roll-backs at the
            paper's own
            numbers of evaluations instead of the same fractions of the run's.
        similarity: measure of how alike layers are, see :func:`prunebench.agents.parts.clustering.ward`.
        rollback: ``none`` (the clusters stay), ``direct`` (to every layer on its own) or ``gradual`` (over a bridge).
        clusters: number of clusters in the first stage. Default: :func:`default_clusters`.
        bridge: clusters of the second stage of a gradual roll-back. Default: :func:`default_clusters`.
        initial: evaluations of the initial design. Default: as in :class:`prunebench.agents.bo.BOAgent`.
        signal: as there.
    """

    def __init__(
        self,
        *,
        seed: int,
        preset: PresetName | Literal["paper"] = "modern",
        similarity: Similarity = "EU",
        rollback: Literal["none", "direct", "gradual"] = "gradual",
        clusters: int | None = None,
        bridge: int | None = None,
        initial: int | None = None,
        signal: Signal | None = None,
    ) -> None:
        model: PresetName = "gpyopt2021" if preset == "paper" else preset
        super().__init__(seed=seed, preset=model, initial=initial, signal=signal)
        for name, value, choices in (("similarity", similarity, DISTANCES), ("rollback", rollback, SCHEDULES)):
            if value not in choices:
                raise ValueError(f"{name} {value!r}: expected one of {', '.join(choices)}")
        for name, number in (("clusters", clusters), ("bridge", bridge)):
            if number is not None and number < 1:
                raise ValueError(f"{name} {number}: expected at least 1")
        if clusters and bridge and bridge < clusters:
            raise ValueError(f"bridge {bridge}: expected at least the {clusters} clusters it follows")
        if bridge and rollback != "gradual":
            raise ValueError(f"bridge {bridge}: expected with rollback gradual, which alone has one")
        self.similarity, self.rollback = similarity, rollback
        self.clusters, self.bridge = clusters, bridge
        self.scaled = preset != "paper"

    def setup(self, info: Mapping[str, Any], evaluations: int) -> None:
        """Cluster the layers and lay out the initial design over the first stage's clusters."""
        tree = ward(info["layers"], self.similarity)
        self._stages = [cut(tree, k) for k in self._stage_sizes(len(tree) + 1)]
        self._events: list[dict[str, float]] = []
        schedule = SCHEDULES[self.rollback]
        self._schedule = [stage.scaled(evaluations) if self.scaled else stage for stage in schedule]
        self._off_budget: list[float] = []
        super().setup(info, evaluations)
        remarks = list(self.notes["remarks"]) if self.notes else []
        if self._schedule and evaluations <= self._schedule[0].latest:
            remarks.append(f"{evaluations} evaluations may end before the first roll-back")
        self.notes = {
            "similarity": self.similarity,
            "tree": tree.tolist(),
            "stages": [labels.tolist() for labels in self._stages],
            "events": self._events,
            "remarks": remarks,
        }

    def tell(self, evaluation: Mapping[str, Any]) -> None:
        """Remember the evaluation; roll back when it is time."""
        super().tell(evaluation)
        excess = evaluation["cost"] - self._budget.limit / float(self._budget.cost(self._budget.channels))
        self._off_budget.append(abs(excess))
        stage = len(self._events)
        if stage < len(self._schedule) and self._schedule[stage].due(self._outcomes):
            self._roll_back(stage + 1)

    def _stage_sizes(self, layers: int) -> list[int]:
        """The number of clusters in each stage."""
        first, second = default_clusters(layers)
        first = self.clusters or min(first, self.bridge or first)
        second = max(self.bridge or second, first)
        return {"none": [first], "direct": [first, layers], "gradual": [first, second, layers]}[self.rollback]

    def _roll_back(self, stage: int) -> None:
        found = elite_bounds(self._realised, self._outcomes, self._off_budget)
        low, high = found or (self._space.low, self._space.high)
        self._enter(PolicySpace(self._budget, self._stages[stage], low, high))
        self._events.append({"evaluation": len(self._outcomes), "stage": stage, "low": low, "high": high})

    def _policy(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """Every layer of a cluster requests the same ratio, as published; the environment deals with the rounding.

        (Where all candidates are known policies, the one that is near the best of them does not: ``_first_new``.)
        """
        alone = self._space.dimensions == len(self._budget.channels)
        return super()._policy(point) if alone else self._space.expand(point)

    def _first_labels(self, info: Mapping[str, Any]) -> NDArray[np.int64]:
        return self._stages[0]

    def _inputs(self) -> NDArray[np.float64]:
        """Requested cluster ratios before the first roll-back, then the clusters' mean realised ratios."""
        return self._space.means(self._realised if self._events else self._requested)
