"""The policies that a run has evaluated: to ask for one of them again would tell nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from prunebench.envs.environment.budget import Budget, Counts, Ratios

TRIES = 50  # of each way to find another policy
PER_SIZE = 10  # tries, after which exchanges become a block larger
VAIN = 3  # searches in a row that found nothing, after which it is taken that there is nothing left


class Seen:
    """A set of realised policies, and a way to others near them.

    Args:
        budget: that policies are put on.
        rng: draws the exchanges.
    """

    def __init__(self, budget: Budget, rng: np.random.Generator) -> None:
        self._budget, self._rng = budget, rng
        self._policies: set[tuple[int, ...]] = set()
        self._vain = 0

    def add(self, counts: Sequence[int]) -> None:
        """Remember channel counts ``(D,)``, an evaluation's ``channels``."""
        self._policies.add(tuple(counts))

    def __contains__(self, counts: ArrayLike) -> bool:
        return tuple(np.asarray(counts).tolist()) in self._policies

    def repeats(self, request: Ratios) -> bool:
        """Whether the environment would realise a request ``(D,)`` as one of these policies."""
        return self._budget.realised(request.astype(np.float32)) in self  # as actions are

    def unseen(self, counts: Counts) -> Counts:
        """``counts`` ``(D,)`` where they are new; else others, as :meth:`first` finds them."""
        return self.first(lambda _: counts, 1)

    def first(self, draw: Callable[[int], Counts], tries: int = TRIES) -> Counts:
        """The first new policy of ``draw(0)``, ``draw(1)`` and so on.

        Where so many tries find none it is one on budget about as few blocks from ``draw(0)`` as there are, where
        there is none of these a random one, and where nothing new is found ``draw(0)``.
        """
        wanted = draw(0)
        if self._vain == VAIN:
            return wanted
        found = next((counts for counts in self._others(wanted, draw, tries) if counts not in self), None)
        self._vain = self._vain + 1 if found is None else 0
        return wanted if found is None else found

    def _others(self, wanted: Counts, draw: Callable[[int], Counts], tries: int) -> Iterator[Counts]:
        yield wanted
        for number in range(1, tries):
            yield draw(number)
        for number in range(TRIES):
            yield self._exchanged(wanted, 1 + number // PER_SIZE)
        for _ in range(TRIES):
            yield self._budget.project(self._rng.uniform(self._budget.lower_bound, 1.0, len(wanted)))

    def _exchanged(self, counts: Counts, blocks: int) -> Counts:
        """Some blocks of one layer less and some of another more, then on budget."""
        budget, other = self._budget, counts.copy()
        giver, taker = self._rng.choice(len(counts), 2, replace=len(counts) == 1)
        other[giver] -= blocks * budget.block[giver]
        other[taker] += blocks * budget.block[taker]
        return budget.project(budget.ratios(np.clip(other, budget.lower_counts, budget.channels)))
