"""Comparisons over the runs' frame, against loops."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from prunebench.envs.errors import TaskError
from prunebench.harness.analysis import comparison, inference


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


def test_pairs_are_by_task_and_seed_and_only_of_runs_that_are_done() -> None:
    runs = frame(2, 5, random=50, bo=55, ddpg=50)
    runs.loc[3, "status"] = "failed"  # random, seed 3 of the first task
    runs.loc[6, "test_accuracy"] = math.nan  # bo, seed 1 of the first task
    found = comparison.differences(runs, "random").set_index("agent")
    mine, theirs = values(runs, "bo"), values(runs, "random")
    expected = [mine[key] - theirs[key] for key in mine if key in theirs and not math.isnan(mine[key])]
    assert found.loc["bo", "pairs"] == len(expected) == 8
    assert found.loc["bo", "difference_mean"] == pytest.approx(np.mean(expected))
    assert found.loc["bo", "p"] == pytest.approx(inference.paired(expected).p)
    assert found.loc["ddpg", "pairs"] == 9


def test_verdicts_and_their_direction() -> None:
    runs = frame(1, 10, random=50, bo=60, ddpg=40, tpe=50)
    found = comparison.differences(runs, "random").set_index("agent")
    assert dict(found["verdict"]) == {"bo": "better", "ddpg": "worse", "tpe": "no difference shown"}
    assert found.loc["bo", "p_holm"] == pytest.approx(3 * 2 / 2**10)
    assert math.isnan(found.loc["bo", "more_seeds"])
    assert found.loc["tpe", "more_seeds"] > 0
    assert found.loc["bo", "probability"] == 1
    times = comparison.differences(runs, "random", "seconds", higher_is_better=False).set_index("agent")
    assert dict(times["verdict"]) == {"bo": "better", "ddpg": "worse", "tpe": "no difference shown"}


@pytest.mark.parametrize("seeds", [1, 2, 6, 7])
def test_where_nothing_is_decided_no_interval_says_so_either(seeds: int) -> None:
    found = comparison.differences(frame(1, seeds, random=50, bo=60, ddpg=40, tpe=50, cmaes=51), "random")
    assert set(found["verdict"]) == {comparison.UNDECIDABLE}
    assert found[comparison._TELLING].isna().all(axis=None)


def test_a_reference_without_runs_is_no_pair() -> None:
    runs = frame(1, 8, random=50, bo=60, ddpg=40)
    runs.loc[runs["agent"] == "random", "status"] = "failed"
    found = comparison.differences(runs, "random")
    assert set(found["verdict"]) == {comparison.NO_PAIRS}
    assert found["more_seeds"].isna().all()
    runs.loc[runs["seed"] == 3, "status"] = "done"  # of one seed alone
    found = comparison.differences(runs, "random")
    assert set(found["verdict"]) == {comparison.UNDECIDABLE}


def test_too_few_seeds_have_no_p() -> None:
    found = comparison.differences(frame(1, 7, random=50, bo=60, ddpg=40, tpe=50, cmaes=51), "random")
    assert set(found["verdict"]) == {comparison.UNDECIDABLE}  # 4 * 2 / 2^7 is above 5 %
    assert found[["p", "p_holm"]].isna().all(axis=None)
    assert list(found["p_floor"]) == [pytest.approx(4 / 64)] * 4
    one = comparison.differences(frame(1, 7, random=50, bo=60), "random")
    assert list(one["verdict"]) == ["better"]


def test_the_best_and_what_is_not_told_apart_from_it() -> None:
    found = comparison.against_best(frame(1, 10, random=50, bo=60, ddpg=40, tpe=60.2))
    assert {found.best, *found.tied} == {"bo", "tpe"}
    assert set(found.worse) == {"random", "ddpg"}
    few = comparison.against_best(frame(1, 2, random=50, bo=60, ddpg=40))
    assert few == ("bo", [], [], ["random", "ddpg"])
    assert comparison.against_best(frame(1, 3, bo=60)) == ("bo", [], [], [])
    assert comparison.against_best(frame(1, 3, bo=60).assign(status="running")) == (None, [], [], [])
    without = frame(1, 10, random=50, bo=60)
    without.loc[without["agent"] == "bo", "test_accuracy"] = math.nan  # nothing of it met the budget
    assert comparison.against_best(without) == ("random", [], [], [])


def test_the_best_of_equals_is_rarely_called_better() -> None:
    rng = np.random.default_rng(0)
    agents, seeds, trials, wrong = 6, 10, 60, 0
    runs = frame(1, seeds, **{f"a{number}": 0.0 for number in range(agents)})
    for _ in range(trials):
        runs["test_accuracy"] = rng.normal(size=len(runs))
        wrong += bool(comparison.against_best(runs).worse)
    assert wrong / trials <= 0.1


def test_the_reference() -> None:
    assert comparison.reference_agent(["bo", "random"]) == "random"
    assert comparison.reference_agent(["bo", "ddpg"]) == "bo"
    assert comparison.reference_agent(["bo", "ddpg"], "ddpg") == "ddpg"
    with pytest.raises(TaskError, match="did you mean 'ddpg'"):
        comparison.reference_agent(["bo", "ddpg"], "dppg")
    assert comparison.own_reference(["bo", "random"], "tpe") == "random"


def test_an_agent_without_results_does_not_count_as_a_comparison() -> None:
    runs = frame(1, 6, random=50, bo=60, ddpg=40)
    runs.loc[runs["agent"] == "ddpg", "status"] = "failed"
    found = comparison.differences(runs, "random").set_index("agent")
    assert found.loc["bo", "verdict"] == "better"  # one comparison: 2 / 2^6
    assert found.loc["ddpg", "pairs"] == 0
    assert found.loc["ddpg", "verdict"] == comparison.NO_PAIRS
    assert comparison.differences(runs[runs["agent"] == "bo"], "bo").empty


def test_descriptions_and_components() -> None:
    runs = frame(3, 4, random=50, bo=60)
    row = comparison.describe(runs).set_index("agent").loc["bo"]
    mine = list(values(runs, "bo").values())
    assert (row["seeds"], row["mean"]) == (12, pytest.approx(np.mean(mine)))
    tasks = [[v for (task, _), v in values(runs, "bo").items() if task == f"t{t}"] for t in range(3)]
    assert row["variance"] == pytest.approx(np.mean([np.var(task, ddof=1) for task in tasks]))  # within a task
    assert row["iqm"] == pytest.approx(np.mean(sorted(mine)[3:9]))
    assert row["iqm_low"] <= row["iqm"] <= row["iqm_high"]
    found = comparison.components(runs).set_index("agent").loc["bo"]
    groups = [[v for (task, _), v in values(runs, "bo").items() if task == f"t{t}"] for t in range(3)]
    expected = inference.variance_components(groups)
    assert (found["splits"], found["runs"]) == (3, 12)
    assert (found["seed_variance"], found["split_variance"]) == pytest.approx(expected)
    none = comparison.describe(runs.assign(status="waiting")).iloc[0]
    assert none["seeds"] == 0
    assert math.isnan(none["mean"])


def test_means_are_of_tasks_that_all_agents_share() -> None:
    runs = frame(2, 3, random=50, bo=60)
    runs = runs[~((runs["agent"] == "bo") & (runs["task"] == "t1"))]
    assert comparison.shared_tasks(runs) == ["t0"]
    assert list(comparison.describe(runs)["seeds"]) == [3, 3]


def test_components_do_not_mix_settings() -> None:
    one, other = frame(2, 4, random=50, bo=60), frame(2, 4, random=20, bo=30)
    runs = pd.concat([one.assign(setting="a"), other.assign(setting="b", task=other["task"] + "b")])
    found = comparison.components(runs)
    assert list(found["setting"]) == ["a", "a", "b", "b"]
    assert found["seed_variance"].max() < 5  # the noise has a variance of 1; settings differ by 30 points
    assert comparison.components(one[one["split_seed"] == 0]).empty
