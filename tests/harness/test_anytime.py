"""Incumbent curves, areas and running times: by hand, and against loops on random data."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import fake
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from toy_runs import FACTS

from prunebench.harness.analysis import anytime
from prunebench.harness.analysis.results import Results
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.files import write_json
from prunebench.harness.record.store import Experiment

NAN = math.nan
Evaluation = tuple[float, bool, float]  # accuracy (%), feasible, seconds


def frame(runs: dict[tuple[str, int], list[Evaluation]]) -> pd.DataFrame:
    """The columns of ``evaluations_frame`` that count here."""
    rows: list[dict[str, Any]] = []
    for (agent, seed), evaluations in runs.items():
        elapsed, best = 0.0, -math.inf
        for index, (accuracy, feasible, seconds) in enumerate(evaluations):
            elapsed += seconds
            best = max(best, accuracy) if feasible else best
            incumbent = best if math.isfinite(best) else NAN
            rows.append(
                {
                    "agent": agent,
                    "seed": seed,
                    "index": index,
                    "elapsed": elapsed,
                    "agent_elapsed": 0.0,
                    "incumbent": incumbent,
                }
            )
    return pd.DataFrame(rows, columns=["agent", "seed", "index", "elapsed", "agent_elapsed", "incumbent"])


BY_HAND = {
    ("uniform", 0): [(50.0, True, 1.0)],
    ("uniform", 1): [(60.0, True, 3.0)],
    ("random", 0): [(90.0, False, 1.0), (40.0, True, 1.0), (70.0, True, 2.0)],
    ("random", 1): [(30.0, True, 2.0), (20.0, True, 2.0), (50.0, True, 2.0)],
}


def test_curves_by_hand() -> None:
    curves = anytime.by_evaluations(frame(BY_HAND), 3)
    assert list(curves.index) == list(BY_HAND)
    assert list(curves.columns) == [1, 2, 3]
    np.testing.assert_array_equal(curves, [[50, 50, 50], [60, 60, 60], [NAN, 40, 70], [30, 30, 50]])
    seconds = anytime.by_seconds(frame(BY_HAND), [0, 1, 2, 3.5, 4, 9])
    assert list(seconds.columns) == [0, 1, 2, 3.5, 4, 9]
    expected = [[NAN, 50, 50, 50, 50, 50], [NAN, NAN, NAN, 60, 60, 60], [NAN, NAN, 40, 40, 70, 70]]
    np.testing.assert_array_equal(seconds, [*expected, [NAN, NAN, 30, 30, 30, 50]])
    assert list(anytime.seconds_grid(frame(BY_HAND), 4)) == [0, 2, 4, 6]


def test_mean_and_interval_by_hand() -> None:
    table = anytime.mean_interval(anytime.by_evaluations(frame(BY_HAND), 3))
    random = table[table["agent"] == "random"]
    assert list(random["at"]) == [1, 2, 3]
    np.testing.assert_allclose(random["mean"], [NAN, 35, 60])
    half = 12.706204736 * np.array([NAN, 10 / 2, 20 / 2])  # t of one degree of freedom; std / sqrt(2) is half the gap
    np.testing.assert_allclose(random["low"], random["mean"] - half)
    np.testing.assert_allclose(random["high"], random["mean"] + half)
    single = anytime.mean_interval(anytime.by_evaluations(frame({("a", 0): [(50.0, True, 1.0)]}), 2))
    assert list(single["mean"]) == [50, 50]
    assert single[["low", "high"]].isna().all(axis=None)


def test_area_and_targets_by_hand() -> None:
    evaluations = frame(BY_HAND)
    areas = anytime.area(anytime.by_evaluations(evaluations, 3))
    assert list(areas) == pytest.approx([50, 60, (0 + 40 + 70) / 3, (30 + 30 + 50) / 3])
    assert anytime.area(anytime.by_evaluations(evaluations, 3), 45)["random", 0] == pytest.approx((45 + 40 + 70) / 3)
    found = anytime.targets(evaluations, [65, 92.5])
    assert found == {"uniform": 55, "random": 60, "65": 65, "92.5": 92.5}
    assert anytime.targets(evaluations[evaluations["agent"] == "random"]) == {"random": 60}


def test_running_times_by_hand() -> None:
    times = anytime.running_time(frame(BY_HAND), 55)
    assert list(times.loc["uniform"]) == [2, 1, 2, 4]  # one missed after 1 evaluation and 1 s, one hit after 1 and 3
    assert list(times.loc["random"]) == [2, 1, 3 + 3, 4 + 6]
    assert list(anytime.running_time(frame(BY_HAND), 50).loc["random"]) == [2, 2, (3 + 3) / 2, (4 + 6) / 2]
    assert list(anytime.running_time(frame(BY_HAND), 99).loc["random"]) == [2, 0, math.inf, math.inf]
    assert anytime.running_time(frame(BY_HAND), 70 + 1e-10).loc["random", "reached"] == 1
    assert anytime.running_time(frame(BY_HAND), 70 + 1e-6).loc["random", "reached"] == 0


def test_nothing_done_is_no_error() -> None:
    nothing = frame({})
    curves = anytime.by_evaluations(nothing, 3)
    assert curves.shape == (0, 3)
    assert anytime.mean_interval(curves).empty
    assert anytime.area(curves).empty
    assert anytime.targets(nothing) == {}
    assert anytime.running_time(nothing, 50).empty
    assert anytime.by_seconds(nothing, anytime.seconds_grid(nothing)).empty


accuracies = st.integers(0, 20).map(lambda n: 5.0 * n)
runs = st.lists(st.tuples(accuracies, st.booleans(), st.integers(1, 8).map(lambda n: n / 4)), min_size=1, max_size=7)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(runs, min_size=1, max_size=4), min_size=1, max_size=3), accuracies)
def test_everything_against_loops(agents: list[list[list[Evaluation]]], target: float) -> None:
    data = {(f"a{a}", seed): run for a, found in enumerate(agents) for seed, run in enumerate(found)}
    evaluations, budget = frame(data), 7
    curves = anytime.by_evaluations(evaluations, budget)
    grid = [0.0, 0.5, 1.25, 3.0, 20.0]
    seconds = anytime.by_seconds(evaluations, grid)
    for key, run in data.items():
        wanted = [_best(run[:n]) for n in range(1, budget + 1)]
        np.testing.assert_array_equal(curves.loc[key], wanted)
        np.testing.assert_array_equal(seconds.loc[key], [_best(run[: _finished(run, at)]) for at in grid])
        assert anytime.area(curves)[key] == pytest.approx(sum(0 if math.isnan(v) else v for v in wanted) / budget)
    table = anytime.mean_interval(curves)
    times = anytime.running_time(evaluations, target)
    for number, found in enumerate(agents):
        rows = table[table["agent"] == f"a{number}"]
        for at, row in zip(range(1, budget + 1), rows.to_dict("records"), strict=True):
            _check_interval([_best(run[:at]) for run in found], row)
        assert list(times.loc[f"a{number}"]) == pytest.approx(_running_time(found, target))


def _best(run: list[Evaluation]) -> float:
    return max((accuracy for accuracy, feasible, _ in run if feasible), default=NAN)


def _finished(run: list[Evaluation], at: float) -> int:
    return sum(sum(seconds for *_, seconds in run[: n + 1]) <= at for n in range(len(run)))


def _check_interval(values: list[float], row: dict[Any, Any]) -> None:
    if any(map(math.isnan, values)):
        assert math.isnan(row["mean"])
        return
    assert row["mean"] == pytest.approx(np.mean(values))
    if len(values) == 1:
        assert math.isnan(row["low"])
    elif np.std(values) > 0:
        interval = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        assert (row["low"], row["high"]) == pytest.approx(interval)


def _running_time(found: list[list[Evaluation]], target: float) -> list[float]:
    reached, evaluations, seconds = 0, 0.0, 0.0
    for run in found:
        for accuracy, feasible, time in run:
            evaluations, seconds = evaluations + 1, seconds + time
            if feasible and accuracy >= target:
                reached += 1
                break
    return [len(found), reached, *(x / reached if reached else math.inf for x in (evaluations, seconds))]


def test_the_table_counts_runs_that_are_done(tmp_path: Path) -> None:
    config = ExperimentConfig(agents=("uniform", "random", "bo"), evaluations=3, seeds=2)
    experiment = Experiment(tmp_path, config)
    write_json(experiment.manifest_path, {"task": FACTS})
    for (agent, seed), evaluations in BY_HAND.items():
        put(experiment, agent, seed, evaluations, "done")
    put(experiment, "bo", 0, [(99.0, True, 1.0)], "running")
    table = Results([experiment], targets=[65]).anytime.set_index("agent")
    assert list(table.columns) == [
        *("runs", "area_mean", "area_std"),
        *(f"{t}_{c}" for t in ("uniform", "random", "65") for c in ("accuracy", "reached", "evaluations", "seconds")),
    ]
    assert list(table["runs"]) == [2, 2, 0]
    assert table.loc["random", "area_mean"] == pytest.approx(((55 + 110) / 3 + 110 / 3) / 2)  # 55: uniform's
    assert table.loc["uniform", "area_std"] == pytest.approx(50**0.5)
    assert (table["uniform_accuracy"] == 55).all()
    assert list(table.loc["random"][["65_reached", "65_evaluations", "65_seconds"]]) == [1, 6, 10]
    assert table.loc["bo"].drop(["runs", "uniform_accuracy", "random_accuracy", "65_accuracy"]).isna().all()


def put(experiment: Experiment, agent: str, seed: int, evaluations: list[Evaluation], status: str) -> None:
    run = experiment.run(agent, seed)
    fake.amend(run, status=status)
    lines = [
        {
            "index": index,
            "requested": [0.5],
            "realised": [0.5],
            "channels": [1],
            "accuracy": accuracy / 100,
            "loss": 1.0,
            "reward": accuracy / 100,
            "macs": 500_000,
            "parameters": 1000,
            "cost": 0.5,
            "feasible": feasible,
            "probe": not feasible,
            "repeat_of": None,
            "seconds": {"agent": seconds, "reconstruction": 0.0, "forward": 0.0, "environment": 0.0},
        }
        for index, (accuracy, feasible, seconds) in enumerate(evaluations)
    ]
    fake.put_lines(run, lines)
