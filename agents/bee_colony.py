"""Baseline: an artificial bee colony, as in ABCPruner (Lin et al., IJCAI 2020, arXiv 2001.08565)."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np

from prunebench.agents.base import GeneratorAgent
from prunebench.envs.environment.budget import Counts, Ratios

SOURCES = 10  # at most
CYCLES = 15  # of employed bees and onlookers, that a run is to have at least
LIMIT = 20  # failures in a row, after which a source is given up
CHANGED = 2  # layers of a neighbour
CERTAIN, SHARED = 0.1, 0.9  # a source is visited with probability 0.1 + 0.9 of its fitness over the best one's


@dataclass
class Source:
    """A food source: a policy that a bee works on.

    Attributes:
        ratios: ``(D,)``.
        fitness: what it scored.
        failures: neighbours in a row that were no better.
    """

    ratios: Ratios
    fitness: float
    failures: int = 0


class BeeColonyAgent(GeneratorAgent):
    """Bees look for better policies beside those they know, the more bees the better a policy is.

    1. The uniform policy and random ones, on budget, are the sources.
    2. Employed bees: beside each source a policy is tried whose ratios differ in two layers; it takes the source's
       place where it is better.
    3. Onlookers do the same, as many as there are sources, at sources drawn by their fitness.
    4. A scout replaces the source of the most failures in a row by a random policy, where they are 20.

    Args:
        seed: the seed of everything random.
        signal: what is better, see :func:`prunebench.agents.parts.outcomes.outcome`.
    """

    def policies(self, info: Mapping[str, Any], evaluations: int) -> Generator[Counts, float, None]:
        """The sources, then cycle after cycle."""
        uniform = self.budget.uniform()
        sources = [Source(self.budget.ratios(uniform), (yield uniform))]
        for _ in range(sources_of(evaluations) - 1):
            sources.append((yield from self._scout()))
        while True:
            for number in range(len(sources)):
                yield from self._work(sources, number)
            for number in onlookers([source.fitness for source in sources], self.rng):
                yield from self._work(sources, number)
            worst = max(range(len(sources)), key=lambda number: sources[number].failures)
            if sources[worst].failures >= LIMIT:
                sources[worst] = yield from self._scout()

    def _scout(self) -> Generator[Counts, float, Source]:
        """A random policy on budget, as a source."""
        low, layers = self.budget.lower_bound, len(self.budget.channels)
        counts = self.seen.first(lambda _: self.budget.project(self.rng.uniform(low, 1.0, layers)))
        return Source(self.budget.ratios(counts), (yield counts))

    def _work(self, sources: list[Source], number: int) -> Generator[Counts, float, None]:
        """Try a policy beside a source; it takes its place where it is better."""
        source, others = sources[number], [s for s in sources if s is not sources[number]]

        def draw(_: int) -> Counts:
            partner = others[self.rng.integers(len(others))]
            return self.budget.project(neighbour(source.ratios, partner.ratios, self.budget.lower_bound, self.rng))

        counts = self.seen.first(draw)
        fitness = yield counts
        if fitness > source.fitness:
            sources[number] = Source(self.budget.ratios(counts), fitness)
        else:
            source.failures += 1


def sources_of(evaluations: int) -> int:
    """How many sources there are: ten, or fewer where a run would have fewer than 15 cycles; at least two."""
    return max(2, min(SOURCES, evaluations // (2 * CYCLES + 1)))


def neighbour(ratios: Ratios, partner: Ratios, low: float, rng: np.random.Generator) -> Ratios:
    """``ratios`` ``(D,)``, but in two layers moved to or from ``partner`` ``(D,)``, as far as it is away at most.

    Args:
        ratios: a source's.
        partner: another's.
        low: the smallest ratio.
        rng: draws the layers and how far they move.
    """
    layers = rng.integers(len(ratios), size=CHANGED)
    moved = ratios.copy()
    moved[layers] += rng.uniform(-1, 1, CHANGED) * (ratios - partner)[layers]
    return np.clip(moved, low, 1.0)


def onlookers(fitness: list[float], rng: np.random.Generator) -> list[int]:
    """The sources that onlookers visit, as many as there are sources: each in turn is visited or not, by its fitness.

    Args:
        fitness: of each source; negative ones count from the worst.
        rng: decides.
    """
    values = np.array(fitness) - min(0.0, *fitness)
    visited = CERTAIN + SHARED * values / max(values.max(), np.finfo(float).tiny)
    chosen: list[int] = []
    for number in cycle(range(len(fitness))):
        if len(chosen) == len(fitness):
            return chosen
        if rng.random() < visited[number]:
            chosen.append(number)
    return []
