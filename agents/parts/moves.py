"""Steps from good policies to others on budget: of every layer, of a few layers, of whole clusters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prunebench.agents.parts.seen import Seen
from prunebench.envs.environment.budget import Budget, Counts, Ratios

FIRST, LATER, KEPT, ROUNDS = 600, 300, 8, 4
FEW = (2, 4, 8)  # layers that a step of a few layers moves, on average
DIFFUSE = 0.5  # a step of every layer is so much shorter
REALISED = 12  # candidates that are rounded to channels and scored once more
_DENSE = -1e-3  # the logarithm of the largest ratio: at 1 a shift onto the budget has no effect

Score = Callable[[Ratios], NDArray[np.float64]]


def stepped(
    centres: Ratios, labels: NDArray[np.int64], n: int, size: float, alone: bool, rng: np.random.Generator
) -> Ratios:
    """``(n, D)`` policies, normal steps in log ratios from ``centres`` ``(m, D)`` chosen at random; off budget.

    Args:
        centres: ratios.
        labels: ``(D,)``, each layer's cluster: a third of the steps move all layers of a cluster alike.
        n: how many.
        size: standard deviation of a step, in log ratio.
        alone: whether layers move on their own, too; else all steps are the clusters'.
        rng: draws the steps.
    """
    layers = centres.shape[1]
    kind = rng.integers(3, size=(n, 1)) if alone else np.full((n, 1), 2)
    own = rng.normal(0.0, size, (n, layers))
    few = rng.random((n, layers)) < rng.choice(FEW, (n, 1)) / layers
    few[np.arange(n), rng.integers(layers, size=n)] = True
    joint = rng.normal(0.0, size, (n, int(labels.max()) + 1))[:, labels]
    steps = np.select([kind == 0, kind == 1], [DIFFUSE * own, few * own], joint)
    return np.exp(np.log(centres[rng.integers(len(centres), size=n)]) + steps)


def on_budget(budget: Budget, policies: ArrayLike) -> Ratios:
    """Policies ``(n, D)`` shifted until their unrounded cost meets the budget."""
    lowest = budget.ratios(budget.lower_counts)
    return budget.shift(np.clip(policies, lowest, np.exp(_DENSE)))


def climb(budget: Budget, score: Score, step: Callable[[Ratios, int, float], Ratios], centres: Ratios) -> Ratios:
    """The on-budget policies ``(m, D)`` of largest score that were found, unrounded, best first.

    Args:
        budget: the budget.
        score: function that scores policies ``(n, D)``.
        step: makes, from centres, so many policies at steps of a relative size.
        centres: where to begin. In each further round the steps start from the best so far, half as long.
    """
    found = on_budget(budget, step(centres, FIRST, 1.0))
    values = score(found)
    for number in range(1, ROUNDS):
        best = np.argsort(-values, kind="stable")[:KEPT]
        more = on_budget(budget, step(found[best], LATER, 0.5**number))
        found, values = np.vstack([found[best], more]), np.append(values[best], score(more))
    return found[np.argsort(-values, kind="stable")]


def realised(budget: Budget, score: Score, policies: Ratios, seen: Seen) -> Counts | None:
    """The channel counts ``(D,)`` whose realised policy scores best, of the first few ``policies`` ``(n, D)``.

    None where all of them are in ``seen``.
    """
    counts = [budget.project(policy) for policy in policies[:REALISED]]
    new = [c for c in counts if c not in seen]
    return new[int(np.argmax(score(budget.ratios(np.array(new)))))] if new else None
