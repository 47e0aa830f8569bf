"""Verdicts on an experiment, in sentences: the first thing that a report says."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from prunebench.harness.analysis import comparison, inference
from prunebench.harness.analysis.comparison import (
    BETTER,
    HEADLINE,
    NO_PAIRS,
    OPEN,
    UNDECIDABLE,
    WORSE,
    AgainstBest,
)


def sentences(
    runs: pd.DataFrame, dense: Mapping[str, Any], reference: str, differences: pd.DataFrame, against_best: AgainstBest
) -> list[str]:
    """The verdicts on one experiment.

    Args:
        runs: of the experiment, done or not.
        dense: the dense network, see :attr:`prunebench.harness.analysis.frames.Reading.dense`.
        reference: the agent that others are compared with.
        differences: of :func:`prunebench.harness.analysis.comparison.differences`.
        against_best: of :func:`prunebench.harness.analysis.comparison.against_best`.
    """
    done = runs[runs["status"] == "done"]
    if done[HEADLINE].notna().sum() == 0:
        return [f"No run has a result yet: {len(done)} of {len(runs)} are done."]
    return [
        *_unfinished(runs),
        *_best(done, dense["test_accuracy_mean"], str(against_best.best)),
        *_apart(_of(differences, done), reference, against_best),
        *_optimism(done, dense),
        *_finetuned(done),
    ]


def _unfinished(runs: pd.DataFrame) -> Iterator[str]:
    done = int((runs["status"] == "done").sum())
    if done < len(runs):
        yield f"{done} of {len(runs)} runs are done; nothing here is final."


def _best(done: pd.DataFrame, dense: float, best: str) -> Iterator[str]:
    means = done.groupby("agent", sort=False)[HEADLINE].agg(["mean", "std"]).dropna(subset=["mean"])
    control = ", which is a control" if comparison.is_control(best) else ""
    yield (
        f"Best on the test split: {best}{control}, {_mean_std(means.at[best, 'mean'], means.at[best, 'std'])} % "
        f"(the dense network: {dense:.2f} %)."
    )
    controls = means[[comparison.is_control(str(agent)) for agent in means.index]]
    if len(controls) and not control:
        strongest = str(controls["mean"].idxmax())
        yield f"The strongest control is {strongest}, with {_mean_std(means.at[strongest, 'mean'], math.nan)} %."


def _of(differences: pd.DataFrame, done: pd.DataFrame) -> pd.DataFrame:
    """The rows of agents that have a run that is done."""
    return differences if differences.empty else differences[differences["agent"].isin(done["agent"])]


def _apart(found: pd.DataFrame, reference: str, against_best: AgainstBest) -> Iterator[str]:
    if found.empty:
        return
    if (found["verdict"] == NO_PAIRS).all():
        yield f"No finished run of {reference} stands beside another agent's: nothing is compared with it."
        return
    if not found["verdict"].isin((BETTER, WORSE, OPEN)).any():
        yield _too_few(found)
        return
    for verdict, words in _VERDICTS.items():
        agents = list(found[found["verdict"] == verdict]["agent"])
        if agents:
            yield f"{words.format(reference)}: {_and(agents)}."
    yield from _apart_from_best(against_best)


_VERDICTS = {
    BETTER: "Better than {}, beyond chance",
    WORSE: "Worse than {}, beyond chance",
    OPEN: "No difference from {} shown",
    UNDECIDABLE: "Too few seeds to compare with {}",
    NO_PAIRS: "No runs in common with {}",
}


def _too_few(found: pd.DataFrame) -> str:
    pairs = int(found["pairs"].max())
    needed = inference.fewest_pairs(max(1, int((found["pairs"] > 1).sum())))
    return (
        f"With {pairs} seed{'s' if pairs != 1 else ''} no test can tell these agents apart, so no difference here is a "
        f"finding: {needed} seeds are the fewest that can."
    )


def _apart_from_best(found: AgainstBest) -> Iterator[str]:
    if found.tied:
        yield f"Not told apart from {found.best} by any test: {_and(found.tied)}."
    if found.worse:
        yield f"Worse than {found.best}, the best, beyond chance: {_and(found.worse)}."
    if found.undecided:
        yield f"Too few seeds to compare with {found.best}, the best: {_and(found.undecided)}."


def _optimism(done: pd.DataFrame, dense: Mapping[str, Any]) -> Iterator[str]:
    gap = (done["reward_accuracy"] - done[HEADLINE]).mean()
    own = dense["reward_accuracy_mean"] - dense["test_accuracy_mean"]
    yield (
        f"Incumbents score {_signed(gap)} on the reward split, which chose them, than on the test split "
        f"(the dense network: {_signed(own)})."
    )


def _finetuned(done: pd.DataFrame) -> Iterator[str]:
    tuned = done.dropna(subset=["finetuned_accuracy"])
    if tuned.empty:
        return
    scored = int(done[HEADLINE].notna().sum())
    if len(tuned) < scored:
        yield f"{len(tuned)} of {scored} runs are fine-tuned: agents are not yet compared by that."
        return
    means = tuned.groupby("agent", sort=False)[["finetuned_accuracy", HEADLINE]].mean()
    best = str(means["finetuned_accuracy"].idxmax())
    mean = _mean_std(means.at[best, "finetuned_accuracy"], math.nan)
    yield (
        f"After fine-tuning, {best} is best on the test split with {mean} %; the agents' means then differ by "
        f"{_spread(means['finetuned_accuracy'])} points at most, before by {_spread(means[HEADLINE])}."
    )


def _signed(points: float) -> str:
    return f"{abs(points):.2f} points {'more' if points >= 0 else 'less'}"


def _spread(values: pd.Series) -> str:
    return f"{values.max() - values.min():.2f}"


def _mean_std(mean: Any, std: Any) -> str:
    return f"{mean:.2f}" if pd.isna(std) else f"{mean:.2f} ± {std:.2f}"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
