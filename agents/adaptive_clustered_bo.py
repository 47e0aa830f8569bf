"""Our own agent: one model of all layers from the first evaluation; clusters decide only where it looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import hadamard

from prunebench.agents.base import SignalAgent
from prunebench.agents.clustered_bo import default_clusters
from prunebench.agents.parts.clustering import DISTANCES, Similarity, cut, ward
from prunebench.agents.parts.moves import climb, realised, stepped
from prunebench.agents.parts.outcomes import Signal, outcome
from prunebench.agents.parts.policy_model import PolicyModel
from prunebench.agents.parts.proposal import log_expected_improvement
from prunebench.agents.parts.refinement import gains, refined
from prunebench.agents.parts.seen import TRIES, Seen
from prunebench.agents.parts.sensitivity import balanced
from prunebench.envs.environment.budget import Budget, Counts, Ratios

SPREAD = 0.25  # of the initial design's ratios, in log ratio
STEP = 0.5  # of the candidates, in log ratio
INCUMBENTS = 5  # candidates are drawn around this many of the best policies
PATIENCE = 2  # evaluations without improvement, after which clusters are split
PER_LAYER = 0.4  # so many evaluations per layer after the initial design, every layer is on its own at the latest
LATEST = 0.3  # but no later than after this part of the run's evaluations
SHARE = 0.5  # of the clusters are split at a time
FIRST_FIT, REFIT, EVERY = 40, 15, 5  # iterations of a fit: up to 20 evaluations; then; at every fifth evaluation
WORST, LEAST_LOSS = 1e-6, 1e-3  # outcomes and losses beyond them are taken as these
_STREAM = 9  # of random numbers: none that the settings above were chosen on


def transformed(outcomes: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the model learns: outcomes ``(n,)`` in [0, 1] as ``-log(-log(outcome))``, others as they are.

    Of a likelihood that is the negative logarithm of the loss, which is nearly a sum over the layers.
    """
    if outcomes.min() < 0 or outcomes.max() > 1:
        return outcomes
    return -np.log(-np.log(np.clip(outcomes, WORST, 1 - LEAST_LOSS)))


def two_level(rows: int, columns: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``(rows, columns)`` of -1 and 1: a part, drawn at random, of the smallest Hadamard matrix that is large enough.

    Without that matrix' first row and column, whose signs are all the same.
    """
    size = 2 ** max(rows, columns).bit_length()
    some = [1 + rng.permutation(size - 1)[:count] for count in (rows, columns)]
    signs: NDArray[np.int64] = hadamard(size, dtype=np.int64)[np.ix_(*some)]
    return signs


class AdaptiveClusteredBOAgent(SignalAgent):
    """BO over clusters of layers that are split where the model wants their layers apart, then over every layer.

    1. The policy on budget with the largest product of ratios, which prunes dear layers more, then a screening design
       around it: every layer's ratio is a step above or below.
    2. A Gaussian process of all layers, on realised policies, from then on
    (:class:`prunebench.agents.parts.policy_model.PolicyModel`):
       nothing it has learned is lost when the clusters change.
    3. The next policy is where the expected improvement (of the posterior, without noise) is largest, of policies on
       budget a few steps from the best ones. At first steps move whole clusters. When progress stalls, the clusters
       whose layers gain most unequally are split; in the end (the roll-back) layers move on their own, too.

    Attributes:
        notes: the same as those of :class:`prunebench.agents.clustered_bo.ClusteredBOAgent`, without bounds.

    Args:
        seed: the seed of the initial design and the candidates.
        similarity: measure of how alike layers are, see :func:`prunebench.agents.parts.clustering.ward`.
        clusters: number of clusters in the first stage. Default:
            :func:`prunebench.agents.clustered_bo.default_clusters`.
        initial: evaluations of the initial design. Default: 10, but no more than a fifth of the run's evaluations and
            no fewer than 3.
        rollback: the evaluation after which every layer is on its own at the latest. Default: those
            of the initial design and 0.4 per layer, but no more than three tenths of the run's.
        signal: what the model learns, see :func:`prunebench.agents.parts.outcomes.outcome`.
    """

    def __init__(
        self,
        *,
        seed: int,
        similarity: Similarity = "EU",
        clusters: int | None = None,
        initial: int | None = None,
        rollback: int | None = None,
        signal: Signal = "loss",
    ) -> None:
        super().__init__(seed=seed, signal=signal)
        if similarity not in DISTANCES:
            raise ValueError(f"similarity {similarity!r}: expected one of {', '.join(DISTANCES)}")
        for name, number in (("clusters", clusters), ("initial", initial), ("rollback", rollback)):
            if number is not None and number < 1:
                raise ValueError(f"{name} {number}: expected at least 1")
        self.similarity, self.clusters, self.initial = similarity, clusters, initial
        self.rollback = rollback

    def setup(self, info: Mapping[str, Any], evaluations: int) -> None:
        """Cluster the layers and lay out the initial design."""
        self._budget = Budget.from_info(info)
        self._rng = np.random.default_rng([_STREAM, self.seed])
        self._model = PolicyModel()
        self._realised: list[list[float]] = []
        self._outcomes: list[float] = []
        self._seen = Seen(self._budget, self._rng)
        self._tree = ward(info["layers"], self.similarity)
        layers = len(self._tree) + 1
        self._labels = cut(self._tree, self.clusters or default_clusters(layers)[0])
        self._stages, self._events = [self._labels.tolist()], list[dict[str, int]]()
        self.notes = {
            "similarity": self.similarity,
            "tree": self._tree.tolist(),
            "stages": self._stages,
            "events": self._events,
        }
        self._design = self._initial_design(self.initial or min(10, max(3, evaluations // 5)))
        late = min(len(self._design) + PER_LAYER * layers, LATEST * evaluations)
        self._latest = late if self.rollback is None else self.rollback
        self._since = len(self._design) - 1  # the evaluation from which on a lack of progress counts

    @property
    def _alone(self) -> bool:
        """Whether every layer is a cluster of its own."""
        return int(self._labels.max()) + 1 == len(self._labels)

    def ask(self) -> NDArray[np.float64]:
        """The next policy ``(D,)``, on budget."""
        if len(self._outcomes) < len(self._design):
            return self._budget.ratios(self._seen.unseen(self._design[len(self._outcomes)]))
        self._learn()
        best = self._best()
        self._refine(best[0])
        found = climb(self._budget, self._score, self._step, best)
        counts = realised(self._budget, self._score, found, self._seen)
        return self._budget.ratios(self._another(best) if counts is None else counts)

    def tell(self, evaluation: Mapping[str, Any]) -> None:
        """Remember the evaluation."""
        self._realised.append(evaluation["realised"])
        self._outcomes.append(outcome(evaluation, self.signal))
        self._seen.add(evaluation["channels"])

    def _initial_design(self, count: int) -> list[Counts]:
        counts = balanced(self._budget)
        start, design = self._budget.ratios(counts), [counts]
        for signs in two_level(count - 1, len(start), self._rng):
            design.append(self._budget.project(np.minimum(start * np.exp(SPREAD * signs), 1.0)))
        return design

    def _learn(self) -> None:
        """Fit the model to all evaluations."""
        done = len(self._outcomes)
        self._policies = np.array(self._realised)
        iterations = FIRST_FIT if done <= 20 else REFIT if done % EVERY == 0 else 0
        self._model.fit(self._policies, transformed(np.array(self._outcomes)), iterations)
        self._means = self._model.mean(self._policies)

    def _best(self) -> Ratios:
        """``(m, D)``: the policies of the highest posterior mean."""
        order = np.argsort(-self._means, kind="stable")
        return self._policies[order[:INCUMBENTS]]

    def _score(self, policies: Ratios) -> NDArray[np.float64]:
        """Log expected improvement of the posterior over its mean at the best policy evaluated, noise left out.

        With noise in it policies next to the best one score as well as any, and the search stands still.
        """
        mean, variance = self._model.predict(policies)
        return log_expected_improvement(mean, np.sqrt(variance), float(self._means.max()))

    def _step(self, centres: Ratios, count: int, size: float) -> Ratios:
        return stepped(centres, self._labels, count, STEP * size, self._alone, self._rng)

    def _another(self, centres: Ratios) -> Counts:
        """Counts ``(D,)`` near ``centres`` ``(m, D)`` that are new, where tries find one."""
        policies = stepped(centres, self._labels, TRIES, STEP, True, self._rng)
        return self._seen.first(lambda number: self._budget.project(policies[number]))

    def _refine(self, policy: Ratios) -> None:
        """Split clusters where progress has stalled; roll back to single layers when it is time."""
        done = len(self._outcomes)
        stalled = done - 1 - max(int(np.argmax(self._outcomes)), self._since)
        if self._alone:
            return
        if done >= self._latest:
            self._enter(np.arange(len(policy)))
        elif stalled >= PATIENCE:
            gain = gains(self._model.mean, self._budget, policy)
            self._enter(refined(self._labels, self._tree, gain, SHARE))

    def _enter(self, labels: NDArray[np.int64]) -> None:
        self._labels, self._since = labels, len(self._outcomes) - 1
        self._stages.append(labels.tolist())
        self._events.append({"evaluation": len(self._outcomes), "stage": len(self._stages) - 1})
