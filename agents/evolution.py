"""Baseline: evolution, by level switches as in EvoPress (arXiv 2410.14649) or of a population as in MetaPruning."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np

from prunebench.agents.base import GeneratorAgent
from prunebench.agents.parts.outcomes import Signal
from prunebench.envs.environment.budget import Budget, Counts

LEVELS = 8  # of a layer: a switch moves it by one
MOST_SWITCHES = 3
OFFSPRING = 1  # of one parent: measured, docs/agents/evolution.md
GENERATIONS = 10  # of a population
FIFTH = 5  # of a population is kept
MUTATED = 0.1  # of a mutant's layers, and at least one


class Variant(Protocol):
    """A way to make children.

    Attributes:
        first: policies in the first generation.
        size: policies in every other one.
        kept: how many of all policies so far may have children.
    """

    first: int
    size: int
    kept: int

    def child(self, parents: list[Counts], place: int, number: int) -> Counts:
        """On-budget counts ``(D,)``, a draw.

        Args:
            parents: counts of those kept, best first; none in the first generation.
            place: in the generation, from 0.
            number: how often this place was drawn before.
        """


class LevelSwitches:
    """One parent; its children have gone up a level in a layer or a few and down a level in others.

    Args:
        budget: the budget.
        rng: draws the layers.
        evaluations: their number in all.
    """

    first, size, kept = 1, OFFSPRING, 1

    def __init__(self, budget: Budget, rng: np.random.Generator, evaluations: int) -> None:
        self._budget, self._rng = budget, rng

    def child(self, parents: list[Counts], place: int, number: int) -> Counts:
        """The uniform policy to begin with, then a mutant of the parent."""
        return switched(self._budget, parents[0], self._rng) if parents else self._budget.uniform()


class Population:
    """The best fifth of a population has children: half of them mutants, half of two parents.

    Args:
        budget: the budget.
        rng: draws policies, parents and layers.
        evaluations: their number in all: ten generations.
    """

    def __init__(self, budget: Budget, rng: np.random.Generator, evaluations: int) -> None:
        self._budget, self._rng = budget, rng
        self.first = self.size = max(4, evaluations // GENERATIONS)
        self.kept = max(2, self.size // FIFTH)

    def child(self, parents: list[Counts], place: int, number: int) -> Counts:
        """To begin with the uniform policy and random ones; then mutants first."""
        budget, rng = self._budget, self._rng
        random = rng.uniform(budget.lower_bound, 1.0, len(budget.channels))
        if not parents:
            return budget.project(random) if place or number else budget.uniform()
        if place < self.size // 2:
            moved = rng.random(len(random)) < MUTATED
            moved[rng.integers(len(random))] = True
            ratios = np.where(moved, random, budget.ratios(rng.choice(parents)))
        else:
            ratios = rng.permuted(budget.ratios(rng.choice(parents, 2, replace=len(parents) == 1)), axis=0)[0]
        return budget.project(ratios)


VARIANTS: Mapping[str, type[LevelSwitches] | type[Population]] = {"levels": LevelSwitches, "population": Population}


class EvolutionAgent(GeneratorAgent):
    """The best policies have children that differ in a few layers; every one is on budget, none is evaluated twice.

    Args:
        seed: the seed of the children.
        signal: what is better, see :func:`prunebench.agents.parts.outcomes.outcome`.
        variant: ``levels``: one parent, whose place a better child takes; children switch levels between layers. Or
            ``population``: the best of a population are mutated and crossed.
    """

    def __init__(
        self, *, seed: int, signal: Signal = "loss", variant: Literal["levels", "population"] = "levels"
    ) -> None:
        super().__init__(seed=seed, signal=signal)
        if variant not in VARIANTS:
            raise ValueError(f"variant {variant!r}: expected one of {', '.join(VARIANTS)}")
        self.variant = VARIANTS[variant]

    def policies(self, info: Mapping[str, Any], evaluations: int) -> Generator[Counts, float, None]:
        """Generation after generation; of equals the older one is kept."""
        variant: Variant = self.variant(self.budget, self.rng, evaluations)
        kept: list[tuple[float, Counts]] = []
        while True:
            generation, parents = list(kept), [counts for _, counts in kept]
            for place in range(variant.size if parents else variant.first):
                counts = self.seen.first(partial(variant.child, parents, place))
                generation.append(((yield counts), counts))
            kept = sorted(generation, key=lambda member: -member[0])[: variant.kept]


def switched(budget: Budget, counts: Counts, rng: np.random.Generator) -> Counts:
    """On-budget counts ``(D,)``: from ``counts``, a level up in one to three layers and a level down in others.

    How many go up is the smaller one of two uniform draws. As many go down, and more until the budget is met. Where the
    reward weighs the cost, which then need not stay as it is, each of the layers drawn goes up or down by chance.
    """
    blocks, lower = np.maximum(1, budget.channels // LEVELS // budget.block), budget.lower_counts
    step = blocks * budget.block
    wanted, raised = counts.copy(), np.zeros(len(counts), dtype=bool)
    switches = int(rng.integers(1, MOST_SWITCHES + 1, 2).min())
    ups = switches if budget.fill else int(rng.binomial(switches, 0.5))
    least = switches if budget.fill else switches - ups
    for _ in range(ups):
        if (wanted < budget.channels).any():
            layer = rng.choice(np.flatnonzero(wanted < budget.channels))
            wanted[layer], raised[layer] = min(wanted[layer] + step[layer], budget.channels[layer]), True
    downs = 0
    while (downs < least or not budget.feasible(wanted)) and (wanted > lower).any():
        able = (wanted > lower) & ~raised
        layer = rng.choice(np.flatnonzero(able if able.any() else wanted > lower))
        wanted[layer], downs = max(wanted[layer] - step[layer], lower[layer]), downs + 1
    return budget.project(budget.ratios(wanted))
