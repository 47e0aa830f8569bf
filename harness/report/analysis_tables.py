"""The tables behind the comparison: statistics per agent, differences, variances, speed, and variance components."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pandas as pd

from prunebench.harness.analysis import anytime, claims, comparison, inference
from prunebench.harness.record.store import Experiment
from prunebench.harness.report.tabular import DASH, Column, Row, Table, interval, mean_std, number, p_value, plain, text

_AGENT = Column("agent", "agent", "agent", text("agent"), left=True)
_TESTS = (Column("p", "p", "p", p_value("p")), Column("p_holm", "p,\nHolm", "p, Holm", p_value("p_holm")))
_IQM_NOTE = "The interquartile mean of fewer than four values is their mean."


def tables(
    experiments: Sequence[Experiment],
    runs: pd.DataFrame,
    reference: str | None = None,
    targets: Sequence[float] = (),
) -> list[Table]:
    """Every table but the comparison itself, of all experiments taken together.

    Args:
        experiments: at least one.
        runs: of :func:`prunebench.harness.analysis.frames.joined`.
        reference: the agent that others are compared with; see
            :func:`prunebench.harness.analysis.comparison.reference_agent`.
        targets: accuracies (%) to be reached, besides those of the controls.

    Raises:
        TaskError: there is no such reference agent.
    """
    agents = comparison.agents_of(runs)
    chosen = comparison.reference_agent(agents, reference)
    found = [statistics_table(runs)] if comparison.shared_tasks(runs) or len(experiments) == 1 else []
    if len(agents) > 1:
        found.append(differences_table(runs, chosen))
    if len(experiments) == 1:
        found += [variances_table(runs, chosen)] if len(agents) > 1 else []
        found.append(anytime_table(experiments[0], targets))
    if not (parts := comparison.components(runs)).empty:
        found.append(components_table(parts))
    return [*found, claims_table(experiments, runs)]


def statistics_table(runs: pd.DataFrame) -> Table:
    """Mean, spread, median and interquartile mean of the test accuracy."""
    frame = comparison.describe(runs)
    columns = [
        _AGENT,
        Column("seeds", "runs", "runs", plain("seeds")),
        Column("mean", "mean,\n%", "mean, %", plain("mean", 2)),
        Column("std", "std,\n%", "std, %", plain("std", 2)),
        Column("variance", "var.,\n%²", "var., %²", plain("variance", 2)),
        Column("median", "median,\n%", "median, %", plain("median", 2)),
        Column("iqm", "IQM,\n%", "IQM, %", plain("iqm", 2)),
        Column("iqm_interval", "95 % interval\nof the IQM", "95 % interval", interval("iqm_low", "iqm_high", 2)),
    ]
    caption = (
        "Accuracy on the test split: mean, standard deviation and variance (n - 1), median, and interquartile mean "
        f"(IQM) with a percentile-bootstrap interval, stratified by task, from {inference.RESAMPLED_RUNS} runs on."
    )
    few = [_IQM_NOTE] if len(frame) and frame["seeds"].min() < 4 else []
    if (tasks := runs["task"].nunique()) > 1:
        few.append(
            f"Over the {len(comparison.shared_tasks(runs))} of {tasks} tasks that all agents have results on; std and "
            "variance are those within a task, pooled."
        )
    return Table("statistics", "Statistics of the test accuracy", columns, _rows(frame), frame, caption, few)


def _improvement(row: Row) -> str:
    form = number(2)
    inside = interval("probability_low", "probability_high", 2)(row)
    return form(row["probability"]) if inside == DASH else f"{form(row['probability'])} {inside}"


def _difference(row: Row) -> str:
    mean, std = row["difference_mean"], number(2)(row["difference_std"])
    if pd.isna(mean):
        return DASH
    return f"{mean:+.2f}" if std == DASH else f"{mean:+.2f} ± {std}"


_interval = interval("difference_low", "difference_high", 2)


def _verdict(row: Row) -> str:
    verdict = str(row["verdict"])
    if verdict == comparison.UNDECIDABLE and row["pairs"]:
        return f"{verdict} (p ≥ {row['p_floor']:.2g})"
    return verdict


def _more(row: Row) -> str:
    if row["verdict"] in (comparison.BETTER, comparison.WORSE, comparison.NO_PAIRS):
        return DASH
    return "?" if pd.isna(row["more_seeds"]) else f"{row['more_seeds']:.0f}"


def differences_table(runs: pd.DataFrame, reference: str) -> Table:
    """Every agent against the reference, on the test split, seed by seed."""
    frame = comparison.differences(runs, reference)
    decided = bool(frame["p"].notna().any())
    tasks = runs["task"].nunique()
    columns = [
        _AGENT,
        Column("pairs", "pairs", "pairs", plain("pairs")),
        Column("difference", "difference,\npoints", "difference", _difference),
        Column(
            "interval", "95 % interval\nof its mean", "95 % interval", interval("difference_low", "difference_high", 2)
        ),
        *(_TESTS if decided else []),
        Column("improvement", "P(better)\n[95 % interval]", "P(better)", _improvement),
        Column("verdict", "verdict", "verdict", _verdict, left=True),
        Column("more_seeds", "more pairs\nto decide", "more pairs", _more),
    ]
    paired = "paired by seed" if tasks == 1 else f"paired by task ({tasks}) and seed"
    caption = (
        f"Accuracy on the test split, {paired}: each agent minus {reference} (mean ± standard deviation). "
        f"Two-sided exact sign-flip permutation test, Holm's correction for {_compared(frame)} comparisons, 5 %. "
        f"P(better): how often a run of the agent beats one of {reference}, ties as halves; bootstrap interval from "
        f"{inference.RESAMPLED_RUNS} runs on. More pairs: for a power of 80 % if the differences go on as they began "
        f"(?: more than {inference.MOST_SEEDS}, or nothing to tell from)."
    )
    notes = _floor_note(frame)
    if tasks > 1:
        notes.append("Pairs of several tasks speak of these tasks, not of others.")
    return Table("differences", f"Against {reference}", columns, _rows(frame), frame, caption, notes)


def _compared(frame: pd.DataFrame) -> int:
    return int((frame["pairs"] > 1).sum())


def _floor_note(frame: pd.DataFrame) -> list[str]:
    """Why there are no p values, where so few seeds cannot give one that decides anything."""
    if frame["p"].notna().any():
        return []
    pairs, comparisons = int(frame["pairs"].max()), _compared(frame)
    if pairs == 0:
        return ["No run of the reference is finished beside another agent's: nothing can be compared."]
    if pairs == 1:
        return ["One pair says nothing about chance: no p values."]
    needed = inference.fewest_pairs(comparisons)
    return [
        f"{pairs} pairs cannot give a p below {inference.smallest_p(pairs):.2g}, {comparisons} comparisons none below "
        f"{min(1.0, comparisons * inference.smallest_p(pairs)):.2g}: no p values are shown, and nothing here is a "
        f"finding. {needed} pairs are the fewest that can decide."
    ]


def variances_table(runs: pd.DataFrame, reference: str) -> Table:
    """Whether an agent's runs vary less than the reference's."""
    frame = comparison.variances(runs, reference)
    few = frame.empty or frame["seeds"].max() < inference.RESAMPLED_RUNS
    columns = [
        _AGENT,
        Column("seeds", "runs", "runs", plain("seeds")),
        Column("std", "std,\n%", "std, %", plain("std", 2)),
        Column("reference_std", f"std of\n{reference}, %", "std of reference", plain("reference_std", 2)),
        Column("ratio", "ratio of\nvariances", "ratio", plain("ratio", 2)),
        Column("interval", "95 % interval\nof the ratio", "95 % interval", interval("ratio_low", "ratio_high", 2)),
        *([] if few else _TESTS),
    ]
    caption = (
        f"Variance of the test accuracy over seeds, each agent's over that of {reference}: percentile-bootstrap "
        "interval; p of the Brown-Forsythe test, Holm's correction."
    )
    notes = [f"Below {inference.RESAMPLED_RUNS} seeds there is neither an interval nor a test."] if few else []
    return Table("variances", f"Variance against {reference}", columns, _rows(frame), frame, caption, notes)


def anytime_table(experiment: Experiment, targets: Sequence[float] = ()) -> Table:
    """How fast agents get where: area under the incumbent's curve, and what it takes to reach targets.

    Args:
        experiment: finished or not.
        targets: accuracies (%) besides those of the controls.
    """
    frame = anytime.table(experiment, targets)
    columns = [_AGENT, Column("area", "area,\n%", "area, %", mean_std("area", 2))]
    for name in (key.removesuffix("_accuracy") for key in frame.columns if key.endswith("_accuracy")):
        columns += _target_columns(name, frame[f"{name}_accuracy"].iloc[0])
    caption = (
        f"Anytime view, on the reward split. Area: mean of the incumbent's accuracy over evaluations 1 to "
        f"{experiment.config.evaluations} (0 before the first policy within the budget). Reaching a target: expected "
        "running time (all that an agent's runs spent until they reached it or ended, over how many of them did)."
    )
    return Table("anytime", "Anytime", columns, _rows(frame), frame, caption)


def _target_columns(name: str, value: float) -> list[Column]:
    heading = f"{name}'s\n{value:.2f} %" if name in anytime.REFERENCES else f"\n{value:.2f} %"
    return [
        Column(f"{name}_reached", f"reached {heading}", f"{value:.2f} %", _reached(name)),
        Column(f"{name}_evaluations", "evalu-\nations", "evals", _expected(f"{name}_evaluations")),
        Column(f"{name}_seconds", "\ns", "s", _expected(f"{name}_seconds")),
    ]


def _reached(name: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        reached = row[f"{name}_reached"]
        return DASH if pd.isna(reached) else f"{int(reached)} of {int(row['runs'])}"

    return cell


def _expected(key: str) -> Callable[[Row], str]:
    """An expected running time: infinite where no run came that far."""
    return lambda row: "∞" if row[key] == math.inf else number(1)(row[key])


def components_table(frame: pd.DataFrame) -> Table:
    """How much of an agent's variance is its own, and how much the split's: of :func:`comparison.components`."""
    several = frame["setting"].nunique() > 1
    columns = [
        *([Column("setting", "network,\nbudget", "network, budget", text("setting"), left=True)] if several else []),
        _AGENT,
        Column("splits", "splits", "splits", plain("splits")),
        Column("runs", "runs", "runs", plain("runs")),
        Column("seed_variance", "by seed,\n%²", "by seed, %²", plain("seed_variance", 3)),
        Column("split_variance", "by split,\n%²", "by split, %²", plain("split_variance", 3)),
    ]
    caption = (
        "Variance components of the test accuracy: of the agent's seed within a split, and between splits (the dense "
        "network's own accuracy included); one-way random-effects analysis of variance, negative estimates as 0."
    )
    group = "setting" if several else ""
    return Table("components", "Variance by seed and by split", columns, _rows(frame), frame, caption, group=group)


def runs_table(runs: pd.DataFrame) -> Table:
    """What became of every run."""
    columns = [
        _AGENT,
        Column("seed", "seed", "seed", plain("seed")),
        Column("status", "status", "status", text("status"), left=True),
        Column("attempts", "attempts", "attempts", plain("attempts")),
        Column("evaluations", "evaluations", "evals", plain("evaluations")),
        Column("incumbent", "incumbent", "incumbent", plain("incumbent")),
        Column("reward_accuracy", "reward\nsplit, %", "reward, %", plain("reward_accuracy", 2)),
        Column("test_accuracy", "test\nsplit, %", "test, %", plain("test_accuracy", 2)),
        Column("finetuned_accuracy", "fine-\ntuned, %", "tuned, %", plain("finetuned_accuracy", 2)),
        Column("macs_kept", "MACs\nkept, %", "MACs, %", plain("macs_kept", 1)),
        Column("latency_kept", "latency\nkept, %", "latency, %", plain("latency_kept", 1)),
        Column("seconds", "time,\ns", "time, s", plain("seconds", 1)),
        Column("error", "error", "error", text("error"), left=True),
    ]
    shown = [column for column in columns if column.key not in ("error", "finetuned_accuracy") or _known(runs, column)]
    caption = "Every run: how often it was begun, what it evaluated, its incumbent (the evaluation's number, from 0)."
    return Table("runs", "Runs", shown, _rows(runs), runs, caption)


def _known(runs: pd.DataFrame, column: Column) -> bool:
    return bool(runs[column.key].notna().any())


def claims_table(experiments: Sequence[Experiment], runs: pd.DataFrame) -> Table:
    """Published claims against what was measured here."""
    frame = claims.findings(experiments, runs)
    columns = [
        Column("claim", "claim", "claim", text("claim"), left=True, share=0.25),
        Column("source", "source", "source", text("source"), left=True, share=0.13),
        Column("agent", "for", "for", text("agent"), left=True, share=0.16),
        Column("measured", "measured here", "measured", text("measured"), left=True, share=0.26),
        Column("outcome", "outcome", "outcome", text("outcome"), left=True, share=0.1),
    ]
    caption = (
        "Published claims, each tested by the comparison written down for it in claims.yaml: accuracies on the test "
        "split, differences of runs of one seed and task, 5 %, not corrected for their number. Rows for "
        "adaptive_clustered_bo put the same question to our own agent; they say nothing about the published method."
    )
    return Table("claims", "Published claims", columns, _rows(frame), frame, caption)


def _rows(frame: pd.DataFrame) -> list[Row]:
    return [dict(row) for row in frame.to_dict("records")]  # type: ignore[arg-type]
