"""The table's numbers by hand, and its four forms."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import fake
import pandas as pd
import pytest
from toy_runs import FACTS

from prunebench.envs.errors import TaskError
from prunebench.harness.analysis.results import Results
from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments import config as configs
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.files import read_json, write_json, write_text
from prunebench.harness.record.store import Experiment
from prunebench.harness.report.tables import table_claims, table_list, table_seeds
from prunebench.harness.report.tables.latex import latex


def line(index: int, accuracy: float, macs: int, agent: float, feasible: bool = True) -> dict[str, Any]:
    return {
        "index": index,
        "requested": [0.5],
        "realised": [0.5],
        "channels": [index],
        "accuracy": accuracy,
        "loss": 1 - accuracy,
        "reward": accuracy,
        "macs": macs,
        "parameters": macs // 100,
        "cost": macs / 1e6,
        "feasible": feasible,
        "probe": not feasible,
        "repeat_of": None,
        "seconds": {"agent": agent, "reconstruction": 1.0, "forward": 2.0, "environment": 0.5},
    }


def session(jobs: int, revision: str = "abc") -> dict[str, Any]:
    return {"jobs": jobs, "versions": {"torch": "1"}, "git": {"revision": revision}, "machine": {"cores": 2}}


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    """Two seeds: ``one_two`` has both, ``half_done`` one and a torn one, ``a&b`` a failed and an unbegun one."""
    config = ExperimentConfig(agents=("one_two", "half_done", "a&b"), evaluations=3, seeds=2)
    experiment = Experiment(tmp_path, config)
    write_text(experiment.yaml_path, configs.to_yaml(config, "made"))
    write_json(experiment.manifest_path, {"task": FACTS, "sessions": [session(2), session(1), session(2)]})

    def put(agent: str, seed: int, lines: list[dict[str, Any]], **status: Any) -> None:
        run = experiment.run(agent, seed)
        fake.amend(run, **status)
        fake.put_lines(run, lines)

    done = {"status": "done", "seconds": {"setup": 9.0, "closing": 0.5}}
    timed = [{"seconds": s, "dense_seconds": 2.0, "images": 50, "threads": 1} for s in (1.0, 1.4)]
    first = [line(0, 0.95, 900_000, 1.0, False), line(1, 0.70, 500_000, 2.0), line(2, 0.60, 400_000, 3.0)]
    put("one_two", 0, first, **done, latency=timed[0], incumbent=1, test={"accuracy": 0.68, "loss": 1.0})
    again = line(2, 0.10, 200_000, 1.0) | {"repeat_of": 1}
    second = [line(0, 0.74, 300_000, 1.0), line(1, 0.10, 400_000, 1.0), again]
    put("one_two", 1, second, **done, latency=timed[1], incumbent=0, test={"accuracy": 0.72, "loss": 1.0})
    notes = {"remarks": ["too short to learn", "and too cold"]}
    put(
        "half_done",
        0,
        [line(0, 0.5, 500_000, 1.0)],
        **done,
        incumbent=0,
        test={"accuracy": 0.4, "loss": 1.0},
        notes=notes,
    )
    put("half_done", 1, [line(0, 0.9, 100_000, 1.0)], status="running", nondeterministic=[{"lines": "x"}])
    error = {"type": "ValueError", "message": "50% of a_b", "traceback": "..."}
    put("a&b", 0, [], status="failed", error=error)
    return experiment


def render(experiment: Experiment, form: str) -> str:
    return table_list.render(Results([experiment]), form)


def test_numbers_against_hand_computation(experiment: Experiment) -> None:
    table = Results([experiment]).summary.set_index("agent")
    row = table.loc["one_two"]
    assert (row["seeds_done"], row["seeds_asked"], row["evaluations"]) == (2, 2, 3)
    assert row["reward_accuracy_mean"] == pytest.approx(72)  # of 70 and 74: the probe of 95 is not feasible
    assert row["reward_accuracy_variance"] == pytest.approx(8)  # ((70-72)^2 + (74-72)^2) / (2 - 1)
    assert row["reward_accuracy_std"] == pytest.approx(8**0.5)
    assert row["test_accuracy_mean"] == pytest.approx(70)
    assert row["test_accuracy_std"] == pytest.approx(8**0.5)
    assert row["macs_kept"] == pytest.approx(40)  # 500,000 and 300,000 of 1,000,000
    assert row["parameters_kept"] == pytest.approx(20)  # 5,000 and 3,000 of 20,000
    assert row["latency_kept"] == pytest.approx(60)  # 1 and 1.4 of 2 seconds
    assert list(Results([experiment]).runs["latency_ms"])[:2] == pytest.approx([20, 28])
    assert row["agent_seconds"] == pytest.approx((6.5 + 3.5) / 2)
    assert row["evaluation_seconds"] == pytest.approx(10.5)
    assert row["distinct"] == 2.5
    assert row["test_accuracy_variance"] == pytest.approx(8)
    assert row["seconds_mean"] == pytest.approx(15.5)  # of 17 and 14
    assert row["seconds_std"] == pytest.approx(4.5**0.5)
    half = table.loc["half_done"]
    assert (half["seeds_done"], half["evaluations"], half["reward_accuracy_mean"]) == (1, 1, 50)
    assert half.isna()[["reward_accuracy_std", "reward_accuracy_variance", "test_accuracy_std", "seconds_std"]].all()
    assert table.loc["a&b", "seeds_done"] == 0
    assert list(table.index) == ["one_two", "half_done", "a&b"]


def test_the_terminal_table(experiment: Experiment) -> None:
    text = render(experiment, "terminal")
    rows = {fields[0]: fields for fields in (re.split(r"\s{2,}", row.strip()) for row in text.splitlines()) if fields}
    assert rows["dense"] == ["dense", "80.00", "-", "90.00", "100.0", "100.0", "100.0", "-", "-", "-", "-", "-"]
    one = ["one_two", "70.00 ± 2.83", "8.00", "72.00 ± 2.83", "40.0", "20.0", "60.0", "15.5 ± 2.1", "5.0", "10.5"]
    assert rows["one_two"] == [*one, "2.5 of 3", "2"]
    assert rows["half_done"][:4] == ["half_done", "40.00", "-", "50.00"]
    assert rows["half_done"][-2:] == ["1", "1 of 2"]
    assert rows["a&b"][-2:] == ["-", "0 of 2"]
    assert [name for name in rows if name in ("dense", "one_two")] == ["dense", "one_two"]
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex"])
def test_what_is_missing_is_named(experiment: Experiment, form: str) -> None:
    text = " ".join(render(experiment, form).replace("\\allowbreak{}", "").split()).replace("\\", "")
    assert "half_done seed 1: unfinished, 1 of 3 evaluations" in text
    assert "half_done seed 1: nondeterministic" in text
    assert "half_done seed 0: too short to learn; and too cold" in text
    assert "a&b seed 0: failed after 0 evaluations: ValueError: 50% of a_b" in text
    assert "a&b seed 1: unfinished, 0 of 3 evaluations" in text
    assert "mobilenetv2 on digits: at most 50 %" in text
    assert "30 calibration, 20 reward, 10 test" in text
    assert "1 run(s) at a time or 2 run(s) at a time" in text


def facts(experiment: Experiment, accuracy: float, **changes: Any) -> None:
    """Other facts about the dense network and its 1,000 reward images."""
    content = read_json(experiment.manifest_path)
    dense, splits = FACTS["dense"] | {"reward_accuracy": accuracy}, FACTS["splits"] | {"reward": 1000}
    content["task"] = FACTS | {"dense": dense, "splits": splits} | changes
    write_json(experiment.manifest_path, content)


# P(at least k of 1,000) is 0.053 for 116 and 0.043 for 117 by chance 0.1, 0.061 for 915 and 0.0485 for 916 by 0.9.
@pytest.mark.parametrize(
    ("accuracy", "chance", "warned"),
    [
        *((0.1, 0.1, True), (0.0, 0.1, True), (0.116, 0.1, True), (0.117, 0.1, False), (0.9, 0.1, False)),
        *((0.9, 0.9, True), (0.915, 0.9, True), (0.916, 0.9, False), (1.0, 1.0, True)),
    ],
)
def test_a_dense_network_at_the_level_of_chance_is_warned_of(
    experiment: Experiment, accuracy: float, chance: float, warned: bool
) -> None:
    facts(experiment, accuracy, chance=chance)
    for form in ("terminal", "markdown"):
        first = render(experiment, form).splitlines()[0]
        assert first.startswith("Warning: the dense network is at the level of chance") == warned
    assert f"{100 * accuracy:.1f} % of 1000 reward images right" in render(experiment, "terminal") or not warned
    latex = render(experiment, "latex")
    assert ("\\textbf{Warning: " in latex) == warned
    assert latex.find("Warning") < latex.find("\\begin{tabular}")
    assert "Warning" not in render(experiment, "csv")


def test_experiments_that_do_not_know_their_chance_are_not_warned_of(experiment: Experiment) -> None:
    facts(experiment, 0.1)
    assert "Warning" not in render(experiment, "terminal")


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex"])
def test_reward_images_that_the_weights_may_have_seen_are_told_of(experiment: Experiment, form: str) -> None:
    for maybe in (True, False):
        facts(experiment, 0.9, reward_maybe_seen=maybe)
        text = " ".join(render(experiment, form).split())
        assert ("the weights may have seen the reward images" in text) == maybe


def test_markdown_has_one_row_per_agent(experiment: Experiment) -> None:
    grid = [row for row in render(experiment, "markdown").splitlines() if row.startswith("|")]
    assert len(grid) == 2 + 4
    assert {row.count("|") for row in grid} == {13}
    assert "distinct evals" in grid[0]


def test_latex_is_escaped_and_balanced(experiment: Experiment) -> None:
    text = render(experiment, "latex")
    assert "\\toprule" in text
    assert "a\\&b" in text
    assert "one\\_two" in text
    assert "72.00 $\\pm$ 2.83" in text
    assert text.isascii()
    assert text.startswith("% needs \\usepackage{array,booktabs,graphicx}\n")
    assert not re.findall(r"(?<!\\)(?<!\{)[%#_]", text[1:])
    body = text.split("\\midrule")[1].split("\\bottomrule")[0]
    assert all(len(re.findall(r"(?<!\\)&", row)) == 11 for row in body.strip().splitlines())
    assert len(re.findall(r"(?<!\\)\{", text)) == len(re.findall(r"(?<!\\)\}", text))


def test_columns_and_a_label_are_chosen(experiment: Experiment) -> None:
    results = Results([experiment])
    text = table_list.render(results, "latex", columns=["macs", "test"], label_as="tab:mine")
    assert "agent & MACs, \\% & test, \\%" in " ".join(text.split())
    assert "\\label{tab:mine}" in text
    assert text.count("\\textbf{") == 1  # of the columns that are there
    with pytest.raises(TaskError, match=r"column 'tset' is unknown: expected one of .*; did you mean 'test'\?"):
        table_list.render(results, "terminal", columns=["tset"])
    with pytest.raises(ConfigError, match="csv always has all"):
        table_list.render(results, "csv", columns=["test"])


def test_every_latex_table_has_its_own_label(experiment: Experiment, tmp_path: Path) -> None:
    other = fake.experiment(tmp_path / "an other_one", 2)
    made = [*table_list.tables(Results([experiment])).values(), *table_list.tables(Results([other])).values()]
    labels = [re.search(r"\\label\{(.*)\}", latex(table)) for table in made]
    found = [label[1] for label in labels if label]
    assert len(set(found)) == len(found) == len(made)
    assert "tab:an-other-one:claims" in found


def test_claims_fit_a_page(experiment: Experiment) -> None:
    """By arithmetic, where no LaTeX is installed: a letter of 7 points is about 3.6 points wide, a line 8 high."""
    claim = "Clustered BO takes less time than the RL agent (here for the same number of evaluations)."
    agents = ("clustered_bo", "clustered_bo:preset=paper", "hyperband_clustered_bo")
    rows = [
        {"id": str(n), "source": "Fan, Mu, Zhang, ECCV 2022 (BOCR), abstract", "claim": f"{claim} {n}", "agent": agent}
        | {"measured": "x" * 300, "outcome": "differs by task", "effect": "+0.8 points [0.2, 1.4]"}
        for n in range(8)
        for agent in agents
    ]
    results = Results([experiment])
    results.findings = pd.DataFrame(rows)
    table = table_claims.table(results)
    columns = [column for column in table.columns if not column.detail]
    widths = [column.share * 345 for column in columns]
    assert sum(widths) + 2 * 2.5 * len(columns) <= 345
    lines = 0
    for row in table.grouped():
        cells = [cell for cell, column in zip(row, table.columns, strict=True) if not column.detail]
        lines += max(-(-int(3.6 * len(cell)) // int(width)) for cell, width in zip(cells, widths, strict=True))
    assert 8 * lines <= 460  # of 550, with the caption
    text = latex(table)
    assert text.count(claim) == 8
    assert "xxx" not in text
    assert "hyperband\\_\\allowbreak{}clustered\\_\\allowbreak{}bo" in text


def test_seed_by_seed(experiment: Experiment) -> None:
    table = table_seeds.table(Results([experiment]))
    assert table.cells() == [["one_two", "68.00", "72.00"], ["half_done", "40.00", "-"], ["a&b", "-", "-"]]
    assert [column.line for column in table.columns] == ["agent", "seed 0", "seed 1"]


def test_csv_has_full_precision(experiment: Experiment) -> None:
    rows = list(csv.DictReader(io.StringIO(render(experiment, "csv"))))
    assert [row["agent"] for row in rows] == ["dense", "one_two", "half_done", "a&b"]
    assert float(rows[1]["reward_accuracy_std_percent"]) == pytest.approx(8**0.5, rel=1e-15)
    assert rows[1]["seeds_done"] == "2"
    assert rows[0]["reward_accuracy_variance_percent2"] == ""


def test_the_files_hold_every_run(experiment: Experiment) -> None:
    table_list.write(Results([experiment]))
    names = {path.name for path in experiment.tables_folder.iterdir()}
    kinds = ("table", "statistics", "differences", "variances", "anytime", "seeds", "claims")
    files = {f"{kind}.{suffix}" for kind in kinds for suffix in ("md", "csv", "tex")}
    assert names == files | {"runs.csv", "methods.bib"}
    rows = list(csv.DictReader((experiment.tables_folder / "runs.csv").open()))
    assert [(row["agent"], row["seed"], row["status"]) for row in rows] == [
        ("one_two", "0", "done"),
        ("one_two", "1", "done"),
        ("half_done", "0", "done"),
        ("half_done", "1", "running"),
        ("a&b", "0", "failed"),
        ("a&b", "1", "waiting"),
    ]
    assert (experiment.tables_folder / "table.md").read_text() == render(experiment, "markdown")


def test_nothing_done_is_still_a_table(experiment: Experiment) -> None:
    for run in experiment.runs():
        fake.amend(run, status="running")
    assert "0 of 2" in render(experiment, "terminal")


def test_a_run_with_a_damaged_line_is_named_and_the_others_reported(experiment: Experiment) -> None:
    path = experiment.run("one_two", 0).lines_path
    path.write_text(path.read_text().replace('"index": 1', '"index": 7'))
    text = " ".join(render(experiment, "terminal").split())
    assert "one_two seed 0: left out, its files are damaged: DamagedError: " in text
    assert "line 2 has index 7: expected 1" in text
    assert "one_two 72.00 - 74.00" in text


def test_sessions_of_other_code_are_named(experiment: Experiment) -> None:
    content = read_json(experiment.manifest_path)
    assert "several sessions" not in render(experiment, "terminal")
    content["sessions"].append(session(2, "def"))
    write_json(experiment.manifest_path, content)
    assert "made in several sessions that differ in: git (see manifest.json)" in table_list.render(
        Results([experiment]), "terminal"
    )
    assert "of prunebench" not in table_list.render(Results([experiment]), "terminal")
    for made, version in zip(content["sessions"], ("0.1.0", "0.1.0", "0.2.0", "0.2.0"), strict=True):
        made["versions"] = {"prunebench": version}
    write_json(experiment.manifest_path, content)
    assert "made by versions 0.1.0 and 0.2.0 of prunebench" in table_list.render(Results([experiment]), "markdown")
