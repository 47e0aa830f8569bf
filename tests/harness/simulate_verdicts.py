"""Run once, by hand: how often the report's verdicts err, and what they find. The figures are in docs/report.md.

    python tests/harness/simulate_verdicts.py 400

Seeds' accuracies are drawn normal with the spreads (and, for power, the means) of the agents of the reference study;
for errors all means are equal. Every trial goes through the product's own functions.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd

from prunebench.harness.analysis import comparison, sequential
from prunebench.harness.seeds import looks_up_to

STUDY = Path(__file__).parents[2] / "results" / "reference"
AGENTS = ("uniform", "random", "greedy", "ddpg", "bo", "clustered_bo", "adaptive_clustered_bo")
REFERENCES = ("adaptive_clustered_bo", "ddpg", "random")
PAIR = ("adaptive_clustered_bo", "ddpg")
SIZES = (3, 5, 8, 10, 20)
MOST = 30


def recorded() -> dict[str, pd.DataFrame]:
    """Mean and standard deviation of every agent's test accuracy, per network."""
    frames = {
        name: pd.read_csv(STUDY / name / "tables" / "runs.csv")
        for name in ("mobilenetv2", "resnet56", "resnet110", "vgg16")
    }
    return {
        name: frame.groupby("agent")["test_accuracy_percent"].agg(["mean", "std"]) for name, frame in frames.items()
    }


def drawn(task: pd.DataFrame, seeds: int, rng: np.random.Generator, *, equal: bool) -> pd.DataFrame:
    rows = [
        {"task": "t", "agent": agent, "seed": seed, "status": "done", "test_accuracy": value}
        for agent in AGENTS
        for seed, value in enumerate(rng.normal(0 if equal else task.at[agent, "mean"], task.at[agent, "std"], seeds))
    ]
    return pd.DataFrame(rows)


def sign_flip_p(differences: np.ndarray) -> float:
    """The old test: all flips of the signs of differences by seed."""
    signs = np.array(list(itertools.product((1, -1), repeat=len(differences))))
    sums = np.abs(signs @ differences)
    return float((sums >= sums[0] - 1e-9).mean())


def trial(
    task: pd.DataFrame, seeds: int, reference: str, rng: np.random.Generator, counts: dict[str, list[float]]
) -> None:
    null = drawn(task, seeds, rng, equal=True)
    found = comparison.differences(null, reference)
    counts["family-wise error"].append(found["verdict"].isin(("better", "worse")).any())
    counts["coverage"] += list((found["low"] <= 0) & (found["high"] >= 0))
    runs = drawn(task, seeds, rng, equal=False)
    truth = task.loc[list(AGENTS), "mean"]
    counts["best left out"].append(truth.idxmax() not in comparison.best(runs).possible)
    found = comparison.differences(runs, reference)
    counts["decided"].append(found["verdict"].isin(("better", "worse")).mean())
    right = np.sign(found["difference"]) == np.sign(found["agent"].map(truth) - truth[reference])
    counts["decided wrongly"].append((found["verdict"].isin(("better", "worse")) & ~right).any())
    if reference == PAIR[0]:
        power(found, runs, counts)


def power(found: pd.DataFrame, runs: pd.DataFrame, counts: dict[str, list[float]]) -> None:
    counts["power"].append(found.set_index("agent").at[PAIR[1], "verdict"] == "worse")
    seeds = runs["seed"].nunique()
    if seeds <= 10:
        wide = runs.pivot(index="seed", columns="agent", values="test_accuracy")
        ps = {agent: sign_flip_p((wide[agent] - wide[PAIR[0]]).to_numpy()) for agent in AGENTS if agent != PAIR[0]}
        holm = [max((len(ps) - k) * p for k, p in enumerate(sorted(ps.values())) if p <= ps[PAIR[1]])]
        counts["power, old"].append(holm[0] <= 0.05)


def main() -> None:
    trials, rng = int(sys.argv[1]), np.random.default_rng(18)
    tasks = recorded()
    for seeds in SIZES:
        counts: dict[str, list[float]] = defaultdict(list)
        for task, reference in itertools.product(tasks.values(), REFERENCES):
            for _ in range(trials // len(REFERENCES)):
                trial(task, seeds, reference, rng, counts)
        print(seeds, {name: f"{100 * np.mean(values):.1f}" for name, values in counts.items()}, flush=True)
    for looks in (looks_up_to(MOST), (10, 20, 30), tuple(range(6, MOST + 1, 2))):
        wrong, found_at = [], []
        for (_, task), _ in itertools.product(list(tasks.items()), range(trials // 4)):
            null = drawn(task, MOST, rng, equal=True)
            wrong.append(sequential.differences(null, looks, PAIR[0])["verdict"].isin(("better", "worse")).any())
            row = (
                sequential.differences(drawn(task, MOST, rng, equal=False), looks, PAIR[0])
                .set_index("agent")
                .loc[PAIR[1]]
            )
            found_at.append(row["look"] if row["verdict"] in sequential.DECIDED else math.inf)
        decided = {look: f"{100 * np.mean(np.array(found_at) <= look):.0f}" for look in (5, 8, 10, 12, 20, 30)}
        print("looks", looks, f"family-wise error {100 * np.mean(wrong):.1f}, decided by", decided, flush=True)


if __name__ == "__main__":
    main()
