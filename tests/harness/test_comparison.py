"""Comparisons over the runs' frame, against loops."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from prunebench.envs.errors import TaskError
from prunebench.harness.analysis import comparison, description, sequential
from prunebench.harness.analysis.statistics import inference
from prunebench.harness.experiments.agentspec import AgentSpec
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.running.sessions import next_runs
from prunebench.harness.seeds import looks_up_to


def frame(tasks: int, seeds: int, **levels: float) -> pd.DataFrame:
    rng = np.random.default_rng(tasks * 100 + seeds)
    rows = [
        {"task": f"t{t}", "setting": "s", "split_seed": t, "agent": agent, "seed": s, "status": "done"}
        | {"test_accuracy": level + rng.normal(), "seconds": 100 - level + rng.normal()}
        for t in range(tasks)
        for agent, level in levels.items()
        for s in range(seeds)
    ]
    return pd.DataFrame(rows)


def values(runs: pd.DataFrame, agent: str, column: str = "test_accuracy") -> dict[tuple[str, int], float]:
    chosen = runs[(runs["agent"] == agent) & (runs["status"] == "done")]
    return {(row.task, row.seed): getattr(row, column) for row in chosen.itertuples()}


def against(runs: pd.DataFrame, reference: str) -> pd.DataFrame:
    return comparison.differences(runs, reference).set_index("agent")


def test_a_difference_is_of_the_runs_that_are_done() -> None:
    runs = frame(1, 5, random=50, bo=55, ddpg=50)
    runs.loc[3, "status"] = "failed"  # random, seed 3
    runs.loc[6, "test_accuracy"] = math.nan  # bo, seed 1
    found = against(runs, "random").loc["bo"]
    mine, theirs = ([v for v in values(runs, agent).values() if not math.isnan(v)] for agent in ("bo", "random"))
    assert (found["runs"], found["reference_runs"]) == (4, 4)
    assert found["difference"] == pytest.approx(np.mean(mine) - np.mean(theirs))
    assert found["p"] == pytest.approx(stats.ttest_ind(mine, theirs, equal_var=False).pvalue)
    inside = stats.ttest_ind(mine, theirs, equal_var=False).confidence_interval(0.95)
    assert (found["low"], found["high"]) == pytest.approx(tuple(inside))


def test_verdicts_and_their_direction() -> None:
    runs = frame(1, 8, random=50, bo=60, ddpg=40, tpe=50)
    found = against(runs, "random")
    assert dict(found["verdict"]) == {"bo": "better", "ddpg": "worse", "tpe": "no difference shown"}
    assert found.loc["bo", "p_holm"] <= 3 * found.loc["bo", "p"]
    assert found.loc["bo", "probability"] == 1
    turned = against(runs, "bo").loc["random"]
    assert turned["verdict"] == "worse"
    ends = found.loc["bo", ["difference", "high", "low"]].astype(float)
    assert list(turned[["difference", "low", "high"]].astype(float)) == pytest.approx(list(-ends))


def test_verdicts_agree_with_the_intervals_shown() -> None:
    for seed in range(12):
        runs = frame(1, 4 + seed % 3, random=50, bo=50.5 + seed / 5, ddpg=51, tpe=49)
        found = comparison.differences(runs, "random")
        decided = found["verdict"].isin(("better", "worse"))
        assert list(decided) == list((found["corrected_low"] > 0) | (found["corrected_high"] < 0))
        assert (found["corrected_high"] - found["corrected_low"] >= found["high"] - found["low"] - 1e-6).all()


def test_equal_is_what_is_within_the_smallest_effect() -> None:
    runs = frame(1, 8, random=50, bo=50)
    runs["test_accuracy"] = 50 + (runs["test_accuracy"] - 50) / 20
    assert list(comparison.differences(runs, "random")["verdict"]) == [comparison.EQUAL]


def test_equal_is_of_points_as_they_are() -> None:
    """A task of little spread does not speak for one of much."""
    runs = frame(2, 5, random=50, bo=50)
    narrow = runs["task"] == "t0"
    runs.loc[narrow, "test_accuracy"] = 50 + (runs.loc[narrow, "test_accuracy"] - 50) / 100
    found = comparison.differences(runs, "random").iloc[0]
    assert abs(found["corrected_high"]) < comparison.SMALLEST_EFFECT
    assert found["verdict"] in (comparison.OPEN, comparison.VARIES)


def test_constant_agents() -> None:
    runs = frame(2, 3, random=50, bo=50)
    runs["test_accuracy"] = 100 * 1501 / 1800
    assert list(comparison.differences(runs, "random")["verdict"]) == [comparison.EQUAL]
    ours = runs["agent"] == "bo"
    runs.loc[ours, "test_accuracy"] += runs.loc[ours, "task"].map({"t0": 2, "t1": -2})
    assert list(comparison.differences(runs, "random")["verdict"]) == [comparison.VARIES]


@pytest.mark.parametrize(("seeds", "words"), [(1, comparison.UNDECIDABLE), (2, comparison.UNDECIDABLE), (3, "better")])
def test_three_runs_are_the_fewest_that_decide(seeds: int, words: str) -> None:
    found = against(frame(1, seeds, random=50, bo=70), "random").loc["bo"]
    assert found["verdict"] == words
    assert found["difference"] == pytest.approx(20, abs=3)
    assert math.isnan(found["p"]) == math.isnan(found["corrected_low"]) == (seeds < 3)


def test_an_agent_that_cannot_be_tested_does_not_count() -> None:
    runs = frame(1, 6, random=50, bo=60, ddpg=40, tpe=50)
    runs.loc[runs["agent"] == "ddpg", "status"] = "failed"
    runs.loc[(runs["agent"] == "tpe") & (runs["seed"] > 0), "status"] = "failed"
    found = against(runs, "random")
    assert found.loc["ddpg", "verdict"] == comparison.NO_RUNS
    assert found.loc["tpe", "verdict"] == comparison.UNDECIDABLE
    assert found.loc["bo", "p_holm"] == found.loc["bo", "p"] < 0.001
    assert comparison.differences(runs[runs["agent"] == "bo"], "bo").empty


def test_tasks_count_alike_whatever_their_spread() -> None:
    runs = frame(2, 5, random=50, bo=52)
    wide = runs["task"] == "t1"
    runs.loc[wide, "test_accuracy"] = 50 + 100 * (runs.loc[wide, "test_accuracy"] - 51)
    found = comparison.differences(runs, "random").iloc[0]
    alone = [comparison.differences(task, "random").iloc[0]["difference"] for _, task in runs.groupby("task")]
    spreads = [
        math.sqrt(np.mean([np.var(list(values(task, agent).values()), ddof=1) for agent in ("random", "bo")]))
        for _, task in runs.groupby("task")
    ]
    assert found["difference"] == pytest.approx(np.average(alone, weights=1 / np.array(spreads)))
    assert (found["tasks"], found["verdict"]) == (2, "better")


def test_runs_of_a_third_agent_do_not_count() -> None:
    """Nor do agents that do not vary, which are in every table."""
    runs = frame(2, 5, random=50, bo=52, ddpg=51, uniform=50)
    runs.loc[runs["agent"] == "uniform", "test_accuracy"] = 50.0
    third = runs["agent"] == "ddpg"
    wide = third & (runs["task"] == "t1")
    runs.loc[wide, "test_accuracy"] = 50 + 9 * (runs.loc[wide, "test_accuracy"] - 50)
    means = runs[third].groupby("task")["test_accuracy"].transform("mean")
    away = (runs.loc[third, "test_accuracy"] - means) * math.sqrt(9 / 8)  # of ten values that vary as these five do
    twice = [runs[third].assign(seed=runs.loc[third, "seed"] + k, test_accuracy=means + away) for k in (0, 5)]
    some = (runs, pd.concat([runs[~third], *twice]), runs[runs["agent"] != "uniform"])
    found = [against(each, "random").loc["bo", "difference"] for each in some]
    assert found == pytest.approx([found[0]] * 3)


def test_agents_that_differ_from_task_to_task() -> None:
    runs = frame(2, 5, random=50, bo=55)
    runs.loc[runs["task"] == "t1", "test_accuracy"] *= -1
    found = comparison.differences(runs, "random").iloc[0]
    assert found["verdict"] == comparison.VARIES
    assert found["interaction_p"] < 0.05


def test_the_best_and_what_may_be_it() -> None:
    found = comparison.best(frame(1, 10, random=50, bo=60, ddpg=40, tpe=60.2))
    assert (found.agent in found.possible, set(found.possible)) == (True, {"bo", "tpe"})
    assert comparison.best(frame(1, 2, random=50, bo=60, ddpg=40)) == ("bo", ["random", "bo", "ddpg"])
    runs = frame(1, 3, random=50, bo=60, ddpg=59)
    told = comparison.differences(runs, "bo").assign(verdict=["no difference shown", "worse"])
    assert "ddpg" in comparison.best(runs).possible
    assert "ddpg" not in comparison.best(runs, told=told).possible
    assert comparison.best(runs, told=told.assign(verdict="better")).possible == ["ddpg"]
    assert comparison.best(frame(1, 3, bo=60)) == ("bo", ["bo"])
    assert comparison.best(frame(1, 3, bo=60).assign(status="running")) == (None, [])
    without = frame(1, 10, random=50, bo=60)
    without.loc[without["agent"] == "bo", "test_accuracy"] = math.nan  # nothing of it met the budget
    assert comparison.best(without) == ("random", ["random"])


def test_the_best_is_rarely_left_out_and_equals_rarely_told_apart() -> None:
    rng = np.random.default_rng(0)
    runs = frame(1, 4, **{f"a{number}": 0.0 for number in range(5)})
    scale = runs["agent"].map({f"a{number}": 3.0**number for number in range(5)})
    left_out = wrong = 0
    for _ in range(60):
        runs["test_accuracy"] = scale * rng.normal(size=len(runs))
        left_out += "a2" not in comparison.best(runs).possible
        wrong += comparison.differences(runs, "a0")["verdict"].isin(("better", "worse")).any()
    assert max(left_out, wrong) <= 9  # of 3 expected at most: 0.2 % by chance


def test_looks_spend_the_level_and_keep_what_is_decided() -> None:
    runs = frame(1, 8, random=50, bo=60, tpe=50.1)
    found = sequential.differences(runs, (4, 8), "random").set_index("agent")
    assert dict(found["look"]) == {"bo": 4, "tpe": 8}
    first = comparison.differences(runs[runs["seed"] < 4], "random", alpha=0.025).set_index("agent")
    assert found.loc["bo", "corrected_low"] == first.loc["bo", "corrected_low"]
    assert sequential.open_agents(found.reset_index()) == ["random", "tpe"]
    unfinished = runs[~((runs["agent"] == "tpe") & (runs["seed"] == 7))]
    assert list(sequential.differences(unfinished, (4, 8), "random")["look"]) == [4, 4]
    assert found.loc["tpe", "p_holm"] == pytest.approx(
        min(1, 2 * comparison.differences(runs, "random", alpha=0.025).set_index("agent").loc["tpe", "p_holm"])
    )


class _Results(NamedTuple):
    """What :func:`next_runs` takes of results."""

    experiment: Any
    differences: pd.DataFrame


def test_only_what_is_open_goes_on_to_the_next_look() -> None:
    names, looks = ("bo", "tpe", "random"), (5, 8, 12)
    config = ExperimentConfig(agents=tuple(map(AgentSpec, names)), seeds=5, looks=looks)

    def go_on(config: ExperimentConfig, runs: pd.DataFrame) -> tuple[ExperimentConfig, str] | None:
        return next_runs(_Results(SimpleNamespace(config=config), sequential.differences(runs, looks, "random")))  # type: ignore[arg-type]

    runs = frame(1, 12, bo=60, tpe=50.1, random=50)
    grown, told = go_on(config, runs[runs["seed"] < 5]) or (config, "")
    assert told == "look at 5 seeds: not decided for random, tpe; they go on to 8 seeds"
    assert dict(grown.seeds) == {"bo": 5, "tpe": 8, "random": 8}  # type: ignore[arg-type]
    ragged = runs[(runs["agent"] != "bo") | (runs["seed"] < 5)]
    last, told = go_on(grown, ragged[ragged["seed"] < 8]) or (config, "")
    assert told.startswith("look at 8 seeds: not decided for random, tpe;")
    assert dict(last.seeds) == {"bo": 5, "tpe": 12, "random": 12}  # type: ignore[arg-type]
    assert go_on(last, ragged) is None  # undecided at the last look


def test_before_the_first_look_nothing_is_decided() -> None:
    runs = frame(1, 10, late=55, random=50, bo=60, mid=55)
    runs = runs[~((runs["agent"] == "late") & (runs["seed"] < 5))]
    runs.loc[(runs["agent"] == "bo") & (runs["seed"] > 2), "status"] = "failed"
    found = sequential.differences(runs, (5, 10), "random").set_index("agent")
    assert dict(found["verdict"]) == {"late": comparison.UNDECIDABLE, "bo": comparison.UNDECIDABLE, "mid": "better"}
    assert found.loc["bo", "difference"] == pytest.approx(10, abs=2)
    assert found.loc["bo", ["p", "look", "corrected_low"]].isna().all()
    none = runs[~((runs["agent"] == "bo") & (runs["status"] == "done"))]
    assert sequential.open_agents(sequential.differences(none, (5, 10), "random")) == ["random", "late"]
    assert looks_up_to(10) == (5, 8, 10)
    assert looks_up_to(3) == (3,)


def test_the_reference() -> None:
    runs = frame(1, 2, random=50, bo=60, ddpg=40)
    assert comparison.reference_agent(runs) == "ddpg"
    assert comparison.reference_agent(runs, "bo") == "bo"
    runs.loc[runs["agent"] == "ddpg", "status"] = "failed"
    assert comparison.reference_agent(runs) == comparison.own_reference(runs, "tpe") == "bo"
    with pytest.raises(TaskError, match="did you mean 'ddpg'"):
        comparison.reference_agent(runs, "dppg")


def test_descriptions_and_components() -> None:
    one = frame(1, 6, random=50, bo=60)
    row = description.describe(one).set_index("agent").loc["bo"]
    mine = list(values(one, "bo").values())
    assert (row["seeds"], row["mean"], row["median"]) == (6, pytest.approx(np.mean(mine)), np.median(mine))
    assert row["variance"] == pytest.approx(np.var(mine, ddof=1))
    assert row["iqm"] == pytest.approx(np.mean(sorted(mine)[1:5]))
    assert row["mean_low"] < row["mean"] < row["mean_high"]
    runs = frame(3, 4, random=50, bo=60)
    found = description.components(runs).set_index("agent").loc["bo"]
    groups = [[v for (task, _), v in values(runs, "bo").items() if task == f"t{t}"] for t in range(3)]
    expected = inference.variance_components(groups)
    assert (found["splits"], found["runs"]) == (3, 12)
    assert (found["seed_variance"], found["split_variance"]) == pytest.approx(expected)
    none = description.describe(one.assign(status="waiting")).iloc[0]
    assert none["seeds"] == 0
    assert math.isnan(none["mean"])


def test_components_do_not_mix_settings() -> None:
    one, other = frame(2, 4, random=50, bo=60), frame(2, 4, random=20, bo=30)
    runs = pd.concat([one.assign(setting="a"), other.assign(setting="b", task=other["task"] + "b")])
    found = description.components(runs)
    assert list(found["setting"]) == ["a", "a", "b", "b"]
    assert found["seed_variance"].max() < 5  # the noise has a variance of 1; settings differ by 30 points
    assert description.components(one[one["split_seed"] == 0]).empty
