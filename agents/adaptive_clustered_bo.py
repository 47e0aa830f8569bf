"""Our own agent: one model of all layers from the first evaluation; clusters decide only where it looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from prunebench.agents.base import AskTellAgent
from prunebench.agents.clustered_bo import default_clusters
from prunebench.agents.parts.clustering import DISTANCES, Similarity, cut, ward
from prunebench.agents.parts.moves import climb, realised, stepped
from prunebench.agents.parts.policy_model import PolicyModel
from prunebench.agents.parts.proposal import log_expected_improvement
from prunebench.agents.parts.refinement import gains, refined
from prunebench.envs.environment.budget import Budget, Counts, Ratios

SPREAD = 0.25  # of the initial design's clusters, in log ratio; its layers have half as much on their own
STEP = 0.5  # of the candidates, in log ratio
INCUMBENTS = 5  # candidates are drawn around this many of the best policies
PATIENCE = 2  # evaluations without improvement, after which clusters are split
PER_LAYER = 0.4  # so many evaluations per layer after the initial design, every layer is on its own at the latest
LATEST = 0.3  # but no later than after this part of the run's evaluations
SHARE = 0.5  # of the clusters are split at a time
FIRST_FIT, REFIT, EVERY = 40, 15, 5  # iterations of a fit: up to 20 evaluations; then; at every fifth evaluation
TRIES = 20  # where all candidates were evaluated before
LEAST_LOSS = 1e-6
_STREAM = 7  # of random numbers: none that the settings above were chosen on


def signal(rewards: NDArray[np.float64], losses: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """The outcomes that the model learns: rewards ``(n,)`` blended with losses ``(n,)``, a smoother sign of the same.

    Rewards in [0, 1] are taken as log odds, of losses the negative logarithm, brought to the rewards' units by
    regression.

    Args:
        rewards: the rewards, to be maximised.
        losses: not negative.
        share: share of the losses, 0 to 1.
    """
    if rewards.min() >= 0 and rewards.max() <= 1:
        rewards = logit(0.01 + 0.98 * rewards)
    rewards = rewards - rewards.mean()
    smooth = -np.log(np.maximum(losses, LEAST_LOSS))
    smooth = smooth - smooth.mean()
    slope = (smooth @ rewards) / max(smooth @ smooth, 1e-12)
    return (1 - share) * rewards + share * slope * smooth


class AdaptiveClusteredBOAgent(AskTellAgent):
    """BO over clusters of layers that are split where the model wants their layers apart, then over every layer.

    1. The uniform policy, then steps away from it: every cluster's ratios together, and a little every layer's.
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
        loss: its share in what the model learns, 0 (rewards alone) to 1.
    """

    def __init__(
        self,
        *,
        seed: int,
        similarity: Similarity = "EU",
        clusters: int | None = None,
        initial: int | None = None,
        loss: float = 0.5,
        rollback: int | None = None,
    ) -> None:
        super().__init__(seed=seed)
        if similarity not in DISTANCES:
            raise ValueError(f"similarity {similarity!r}: expected one of {', '.join(DISTANCES)}")
        for name, number in (("clusters", clusters), ("initial", initial), ("rollback", rollback)):
            if number is not None and number < 1:
                raise ValueError(f"{name} {number}: expected at least 1")
        if not 0 <= loss <= 1:
            raise ValueError(f"loss {loss:g}: expected a share, 0 to 1")
        self.similarity, self.clusters, self.initial = similarity, clusters, initial
        self.loss, self.rollback = loss, rollback

    def setup(self, info: Mapping[str, Any], evaluations: int) -> None:
        """Cluster the layers and lay out the initial design."""
        self._budget = Budget.from_info(info)
        self._rng = np.random.default_rng([_STREAM, self.seed])
        self._model = PolicyModel()
        self._records: list[Mapping[str, Any]] = []
        self._seen: set[tuple[int, ...]] = set()
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
        if len(self._records) < len(self._design):
            return self._design[len(self._records)]
        self._learn()
        best = self._best()
        self._refine(best[0])
        found = climb(self._budget, self._score, self._step, best)
        counts = realised(self._budget, self._score, found, self._seen)
        return self._budget.ratios(self._another(best) if counts is None else counts)

    def tell(self, evaluation: Mapping[str, Any]) -> None:
        """Remember the evaluation."""
        self._records.append(evaluation)
        self._seen.add(tuple(evaluation["channels"]))

    def _initial_design(self, count: int) -> list[Ratios]:
        uniform = self._budget.ratios(self._budget.project(np.full(len(self._budget.channels), 0.5)))
        design = [uniform]
        for _ in range(count - 1):
            joint = self._rng.normal(0.0, SPREAD, int(self._labels.max()) + 1)[self._labels]
            own = self._rng.normal(0.0, SPREAD / 2, len(uniform))
            design.append(self._budget.ratios(self._budget.project(np.minimum(uniform * np.exp(joint + own), 1.0))))
        return design

    def _learn(self) -> None:
        """Fit the model to all evaluations."""
        rewards, losses = (np.array([record[key] for record in self._records]) for key in ("reward", "loss"))
        done = len(self._records)
        self._policies = np.array([record["realised"] for record in self._records])
        iterations = FIRST_FIT if done <= 20 else REFIT if done % EVERY == 0 else 0
        self._model.fit(self._policies, signal(rewards, losses, self.loss), iterations)
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
        """Counts ``(D,)`` near ``centres`` ``(m, D)`` that are new, where a few tries find one."""
        for policy in stepped(centres, self._labels, TRIES, STEP, True, self._rng):
            counts = self._budget.project(policy)
            if tuple(counts.tolist()) not in self._seen:
                break
        return counts

    def _refine(self, policy: Ratios) -> None:
        """Split clusters where progress has stalled; roll back to single layers when it is time."""
        done = len(self._records)
        stalled = done - 1 - max(int(np.argmax([record["reward"] for record in self._records])), self._since)
        if self._alone:
            return
        if done >= self._latest:
            self._enter(np.arange(len(policy)))
        elif stalled >= PATIENCE:
            gain = gains(self._model.mean, self._budget, policy)
            self._enter(refined(self._labels, self._tree, gain, SHARE))

    def _enter(self, labels: NDArray[np.int64]) -> None:
        self._labels, self._since = labels, len(self._records) - 1
        self._stages.append(labels.tolist())
        self._events.append({"evaluation": len(self._records), "stage": len(self._stages) - 1})
