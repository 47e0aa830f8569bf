"""Verdicts on an experiment, in sentences: the first thing that a report says."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from prunebench.harness.analysis import comparison
from prunebench.harness.analysis.comparison import (
    BETTER,
    EQUAL,
    HEADLINE,
    NO_RUNS,
    OPEN,
    SMALLEST_EFFECT,
    UNDECIDABLE,
    VARIES,
    WORSE,
    Best,
)

if TYPE_CHECKING:
    from prunebench.harness.analysis.several import Scores


def sentences(
    runs: pd.DataFrame, dense: Mapping[str, Any], differences: pd.DataFrame, best: Best, confirms: bool = False
) -> list[str]:
    """The verdicts on one experiment.

    Args:
        runs: of the experiment, done or not.
        dense: the dense network, see :attr:`prunebench.harness.analysis.frames.Reading.dense`.
        differences: of :func:`prunebench.harness.analysis.comparison.differences`.
        best: of :func:`prunebench.harness.analysis.comparison.best`.
        confirms: whether incumbents were chosen by more than the reward split. What is left of their optimism is then
            told where that is, see :func:`prunebench.harness.analysis.description.confirmed`.
    """
    done = runs[runs["status"] == "done"]
    if best.agent is None:
        return [f"No run has a result yet: {len(done)} of {len(runs)} are done."]
    return [
        *_unfinished(runs),
        *_best(done, dense["test_accuracy_mean"], best),
        *against_rivals(_by_mean(differences[differences["verdict"] != NO_RUNS], done)),
        *([] if confirms else _optimism(done, dense)),
        *_finetuned(done),
    ]


def joint(differences: pd.DataFrame, tasks: Sequence[str], scores: Scores, summary: pd.DataFrame) -> list[str]:
    """The verdicts on several tasks together.

    Args:
        differences: of these tasks, see :func:`prunebench.harness.analysis.comparison.differences`.
        tasks: that count.
        scores: of :func:`prunebench.harness.analysis.several.scores`.
        summary: of :func:`prunebench.harness.analysis.several.summary`.
    """
    rivals = differences[differences["verdict"] != NO_RUNS].sort_values("difference", ascending=False, kind="stable")
    return [*_best_score(summary, scores), *_left_out(tasks, scores), *against_rivals(rivals, len(tasks))]


def _best_score(found: pd.DataFrame, scores: Scores) -> Iterator[str]:
    tasks = len(scores.tasks)
    if tasks < 2 or found.empty:
        return
    best, *_ = found.sort_values("mean", ascending=False, kind="stable").to_dict("records")
    inside = "" if math.isnan(best["mean_low"]) else f" [{best['mean_low']:.2f}, {best['mean_high']:.2f}]"
    yield (
        f"Over {tasks} tasks the highest mean score is that of {best['agent']}: {best['mean']:.2f}{inside} of "
        f"the way from the uniform policy to the dense network{_without(scores.absent)}."
    )


def _without(absent: Sequence[str]) -> str:
    return f", of the agents that ran on all of them (without {_and(absent)})" if absent else ""


def _left_out(tasks: Sequence[str], scores: Scores) -> Iterator[str]:
    for task, why in scores.without.items():
        if task not in tasks:
            yield f"{task} does not count here: {why}."


def _by_mean(rivals: pd.DataFrame, done: pd.DataFrame) -> pd.DataFrame:
    """The strongest rival first."""
    means = done.groupby("agent")[HEADLINE].mean()
    return rivals.assign(mean=rivals["agent"].map(means)).sort_values("mean", ascending=False, kind="stable")


def against_rivals(differences: pd.DataFrame, tasks: int = 1) -> Iterator[str]:
    """A sentence per rival of the reference: the decision, the effect and its interval.

    Args:
        differences: of :func:`prunebench.harness.analysis.comparison.differences`.
        tasks: how many they are of; what is of fewer says so.
    """
    for row in differences.to_dict("records"):
        some = f" (on {row['tasks']} of {tasks} tasks)" if row["tasks"] < tasks else ""
        yield f"{_WORDS[row['verdict']].format(ours=row['reference'], rival=row['agent'])}{_effect(row)}{some}."


_WORDS = {
    WORSE: "{ours} is better than {rival}",  # a verdict speaks of the rival
    BETTER: "{ours} is worse than {rival}",
    EQUAL: f"{{ours}} and {{rival}} are equal within {SMALLEST_EFFECT:g} points",
    VARIES: "{ours} against {rival} differs from task to task",
    OPEN: "{ours} and {rival} are not told apart",
    UNDECIDABLE: "{ours} and {rival} have too few runs for a test",
}


def _effect(row: Mapping[Hashable, Any]) -> str:
    """How much the reference has more than the rival."""
    points = f": {0 - row['difference']:+.2f} points"
    if math.isnan(row["p"]):
        return points
    p = "p < 0.001" if row["p_holm"] < 0.001 else f"p = {row['p_holm']:.3f}"
    return f"{points} [{0 - row['corrected_high']:+.2f}, {0 - row['corrected_low']:+.2f}], {p}"


def _unfinished(runs: pd.DataFrame) -> Iterator[str]:
    done = int((runs["status"] == "done").sum())
    if done < len(runs):
        yield f"{done} of {len(runs)} runs are done; nothing here is final."


def _best(done: pd.DataFrame, dense: float, best: Best) -> Iterator[str]:
    means = done.groupby("agent", sort=False)[HEADLINE].agg(["mean", "std"]).dropna(subset=["mean"])
    control = ", which is a control" if comparison.is_control(str(best.agent)) else ""
    yield (
        f"Best mean on the test split: {best.agent}{control}, {_mean_std(*means.loc[best.agent])} % "
        f"(the dense network: {dense:.2f} %).{_possible(best, len(means))}"
    )


def _possible(best: Best, agents: int) -> str:
    if agents == 1:
        return ""
    if len(best.possible) == agents:
        return " Any of the agents may be the best."
    if best.possible == [best.agent]:
        return " With 95 % confidence it is the best of them."
    return f" With 95 % confidence the best is among {_and(best.possible)}."


def _optimism(done: pd.DataFrame, dense: Mapping[str, Any]) -> Iterator[str]:
    """How much of the reward split's accuracy is luck of the chosen: what agents that choose by it lose on the test
    split, beyond the gap of one that chooses nothing."""
    gaps = (done["reward_accuracy"] - done[HEADLINE]).groupby(done["agent"], sort=False).mean().dropna()
    name, own = "the dense network", dense["reward_accuracy_mean"] - dense["test_accuracy_mean"]
    if _UNCHOSEN in gaps:
        name, own = f"{_UNCHOSEN}, which chooses nothing,", gaps.pop(_UNCHOSEN)
    beyond = gaps.drop(_ONE_POLICY, errors="ignore") - own
    if beyond.empty:
        return
    yield (
        f"Optimism: from the reward split to the test split {name} {'gains' if own < 0 else 'loses'} {abs(own):.2f} "
        f"points. Compared with that, incumbents, which the reward split chose, lose {beyond.min():+.2f} "
        f"({beyond.idxmin()}) to {beyond.max():+.2f} points ({beyond.idxmax()})."
    )


_UNCHOSEN = "uniform"
_ONE_POLICY = "global"  # neither does this one choose by accuracy


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


def _spread(values: pd.Series) -> str:
    return f"{values.max() - values.min():.2f}"


def _mean_std(mean: Any, std: Any) -> str:
    return f"{mean:.2f}" if pd.isna(std) else f"{mean:.2f} ± {std:.2f}"


def _and(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
