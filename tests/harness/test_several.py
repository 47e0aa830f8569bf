"""Several experiments together: accuracy over budgets, normalised scores and profiles, against plain sums."""

from __future__ import annotations

from pathlib import Path

import fake
import independent
import pytest
from independent import Disk

from prunebench.harness.analysis import several
from prunebench.harness.analysis.frames import Reading
from prunebench.harness.analysis.results import Results
from prunebench.harness.experiments import grid, gridfile
from prunebench.harness.files import read_json, write_json
from prunebench.harness.record.store import Experiment
from prunebench.harness.report.figures import figure_list
from prunebench.harness.report.tables import table_scores, table_tradeoff

AGENTS = ("uniform", "random", "bo")
BUDGETS = (0.5, 0.3, 0.7)


@pytest.fixture
def made(tmp_path: Path) -> list[Experiment]:
    """Three budgets, the second without fine-tuning."""
    return [
        fake.experiment(tmp_path / f"p{preserve}", 5, preserve=preserve, agents=AGENTS, finetuned=preserve != 0.3)
        for preserve in BUDGETS
    ]


def test_accuracy_over_budgets(made: list[Experiment]) -> None:
    results = Results(made)
    frame = results.tradeoff
    assert set(frame["setting"]) == {"mobilenetv2"}
    dense = frame[frame["agent"] == "dense"].to_dict("records")
    assert [(row["cost_kept"], row["test_accuracy_mean"]) for row in dense] == [(100, 93)]
    bo = frame[frame["agent"] == "bo"].set_index("preserve")
    assert list(bo.index) == sorted(BUDGETS)
    for experiment in made:
        disk, row = Disk(experiment.folder), bo.loc[experiment.config.preserve]
        values = disk.values("bo", "test")
        half = independent.T_975[4] * (independent.variance(values) / 5) ** 0.5
        assert row["cost_kept"] == pytest.approx(independent.mean(disk.values("bo", "macs")))
        mean = independent.mean(values)
        shown = (row["test_accuracy_mean"], row["test_accuracy_low"], row["test_accuracy_high"])
        assert shown == pytest.approx((mean, mean - half, mean + half), rel=1e-4)
    assert list(bo["finetuned_accuracy_mean"].notna()) == [False, True, True]
    table = table_tradeoff.table(results)
    assert table is not None
    headings = [column.line for column in table.columns]
    assert headings == [
        "agent",
        *(f"at {b} % test, %" for b in (70, 50, 30)),
        *(f"at {b} % tuned, %" for b in (70, 50)),
    ]
    cells = {row[0]: row for row in table.cells()}
    assert cells["bo"][3] == independent.mean_std(Disk(made[1].folder).values("bo", "test"), 2)
    figure = figure_list.draw(results)["tradeoff"]
    assert len(figure.axes) == 2  # before and after fine-tuning
    drawn = {str(line.get_label()): line for line in figure.axes[0].lines}
    assert list(drawn["bo"].get_xdata()) == list(bo["cost_kept"])
    assert list(drawn["bo"].get_ydata()) == list(bo["test_accuracy_mean"])
    assert list(drawn["_dense"].get_xdata()) == [100]


def test_only_a_budget_makes_a_sweep(made: list[Experiment], tmp_path: Path) -> None:
    other = fake.experiment(tmp_path / "other", 2, preserve=0.4, agents=("bo",), evaluations=13)
    assert Results([made[0], other]).tradeoff.empty
    assert table_tradeoff.table(Results([made[0], other])) is None
    assert Results(made[:1]).tradeoff.empty
    more = fake.experiment(tmp_path / "more", 2, preserve=0.4, agents=("bo",))  # other agents and seeds
    assert len(Results([made[0], more]).tradeoff) == 1 + len(AGENTS) + 1


def test_the_documented_grid_is_a_sweep_of_three_budgets() -> None:
    settings = gridfile.read(Path(__file__).parents[2] / "docs" / "budgets.yaml")
    readings = [Reading(Experiment(Path(), config), str(number)) for number, config in enumerate(grid.expand(settings))]
    assert [len(sweep) for sweep in several.sweeps(readings).values()] == [3]


def dense_reward(experiment: Experiment, accuracy: float) -> None:
    content = read_json(experiment.manifest_path)
    content["task"]["dense"] = fake.DENSE | {"reward_accuracy": accuracy}
    write_json(experiment.manifest_path, content)


def test_scores_and_what_is_left_out(made: list[Experiment], tmp_path: Path) -> None:
    uniform = independent.mean(Disk(made[2].folder).values("uniform", "reward")) / 100
    limit = 2 * (uniform * (1 - uniform) / 200) ** 0.5  # of 200 reward images
    dense_reward(made[2], uniform + 0.8 * limit)
    alone = fake.experiment(tmp_path / "alone", 3, preserve=0.4, agents=("uniform", "random"))
    scores = Results([*made, alone]).scores
    assert scores.tasks == [f"mobilenetv2, {budget} % of MACs" for budget in (50, 30, 40)]
    assert list(scores.without) == ["mobilenetv2, 70 % of MACs"]
    assert "saturated" in scores.without["mobilenetv2, 70 % of MACs"]
    assert scores.absent == ["bo"]
    dense_reward(made[2], uniform + 1.3 * limit)
    assert not Results(made).scores.without
    tables = [table_scores.table(Results(some)) for some in (made, made[:1])]
    assert tables[1] is None
    assert tables[0] is not None
    rows = {row["agent"]: row for row in tables[0].rows}
    tasks = [independent.score(Disk(experiment.folder), "bo") for experiment in made]
    assert rows["bo"]["iqm"] == pytest.approx(independent.mean([independent.iqm(values) for values in tasks]))
    assert rows["bo"]["mean"] == pytest.approx(independent.mean([independent.mean(values) for values in tasks]))
    assert rows["bo"]["mean_low"] < rows["bo"]["mean"] < rows["bo"]["mean_high"]
    assert rows["uniform"]["mean"] == pytest.approx(0)


def test_profiles_count_runs(made: list[Experiment]) -> None:
    results = Results(made)
    profiles = several.profiles(results.scores.frame)
    own = [independent.score(Disk(experiment.folder), "random") for experiment in made]
    for row in profiles[profiles["agent"] == "random"].to_dict("records"):
        share = independent.mean([sum(v >= row["at"] - 1e-12 for v in task) / len(task) for task in own])
        assert row["share"] == pytest.approx(share)
    drawn = {str(line.get_label()): line for line in figure_list.draw(results)["profiles"].axes[0].lines}
    assert list(drawn["bo"].get_ydata()) == list(profiles[profiles["agent"] == "bo"]["share"])
    assert drawn["bo"].get_drawstyle() == "steps-pre"  # a share holds for all scores up to its own
