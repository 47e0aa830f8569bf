"""Bayesian optimisation with clustering and gradual roll-back (BOCR: Fan, Mu, Zhang, ECCV 2022, arXiv 2109.10591)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.bo import BOAgent
from agents.clustering import cut, ward
from agents.proposal import PolicySpace

PAPER_CLUSTERS = {27: (3, 9), 13: (6, 9), 18: (6, 15)}  # ResNet-56, MobileNetV1, MobileNetV2
ELITE = 10  # policies whose ratios bound the search after a roll-back
ELITE_COST = 0.01  # how far their cost may lie from the budget, as a fraction of the dense network's


class RollBack(NamedTuple):
    """When a stage ends: at ``latest``, but from ``earliest`` on also after ``patience`` stalled evaluations.

    All three are fractions of the run's evaluations. Stalled: without improvement.
    """

    earliest: float
    latest: float
    patience: float

    def due(self, rewards: ArrayLike, evaluations: int) -> bool:
        """Whether to roll back now that ``rewards`` ``(n,)`` were earned, of a run of ``evaluations``."""
        done = len(np.asarray(rewards))
        stalled = done - 1 - int(np.argmax(rewards))
        ended = done >= math.ceil(self.latest * evaluations) or stalled >= math.ceil(self.patience * evaluations)
        return done >= math.ceil(self.earliest * evaluations) and ended


SCHEDULE = (RollBack(80 / 200, 100 / 200, 20 / 200), RollBack(130 / 200, 150 / 200, 20 / 200))


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
        tree: Ward linkage of the layers, ``D - 1`` rows of four numbers.
        stages: per stage, each layer's cluster; in the last one every layer is one of its own.
        events: one dict per roll-back: ``evaluation`` (how many were finished), ``stage`` (the one
            entered, from 1), ``low`` and ``high`` (the bounds from there on).

    Args:
        seed: of the initial design and the candidates.
        initial: evaluations of the initial design. Default: as in :class:`agents.bo.BOAgent`.
        clusters: of the first stage. Default: :func:`default_clusters`.
        bridge: of the second stage. Default: :func:`default_clusters`.
    """

    def __init__(
        self, *, seed: int, initial: int | None = None, clusters: int | None = None, bridge: int | None = None
    ) -> None:
        super().__init__(seed=seed, initial=initial)
        for name, value in (("clusters", clusters), ("bridge", bridge)):
            if value is not None and value < 1:
                raise ValueError(f"{name} {value}: expected at least 1")
        if clusters and bridge and bridge < clusters:
            raise ValueError(f"bridge {bridge}: expected at least the {clusters} clusters it follows")
        self.clusters, self.bridge = clusters, bridge
        self.tree: list[list[float]] = []
        self.stages: list[list[int]] = []
        self.events: list[dict[str, float]] = []

    def setup(self, info: Mapping[str, Any], evaluations: int) -> None:
        """Cluster the layers and lay out the initial design over the first stage's clusters."""
        tree = ward(info["layers"]["importance"])
        layers = len(tree) + 1
        first, second = default_clusters(layers)
        first = self.clusters or min(first, self.bridge or first)
        second = max(self.bridge or second, first)
        self.tree = tree.tolist()
        self.stages = [cut(tree, k).tolist() for k in (first, second, layers)]
        self.events = []
        self._evaluations = evaluations
        self._off_budget: list[float] = []
        super().setup(info, evaluations)

    def tell(self, evaluation: Mapping[str, Any]) -> None:
        """Remember the evaluation; roll back when it is time."""
        super().tell(evaluation)
        excess = evaluation["cost"] - self._budget.limit / float(self._budget.cost(self._budget.channels))
        self._off_budget.append(abs(excess))
        stage = len(self.events)
        if stage < len(SCHEDULE) and SCHEDULE[stage].due(self._rewards, self._evaluations):
            self._roll_back(stage + 1)

    def _roll_back(self, stage: int) -> None:
        found = elite_bounds(self._realised, self._rewards, self._off_budget)
        low, high = found or (self._space.low, self._space.high)
        self._enter(PolicySpace(self._budget, np.array(self.stages[stage]), low, high))
        self.events.append({"evaluation": len(self._rewards), "stage": stage, "low": low, "high": high})

    def _policy(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """Every layer of a cluster requests the same ratio, as published; the environment deals with the rounding."""
        return super()._policy(point) if len(self.events) == len(SCHEDULE) else self._space.expand(point)

    def _first_labels(self, info: Mapping[str, Any]) -> NDArray[np.int64]:
        return np.array(self.stages[0])

    def _inputs(self) -> NDArray[np.float64]:
        """Requested cluster ratios before the first roll-back, then the clusters' mean realised ratios."""
        return self._space.means(self._realised if self.events else self._requested)
