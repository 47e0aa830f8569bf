"""The report: every number in it recomputed from the lines on disk; one file, no request, no error in a browser."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import fake
import independent
import pandas as pd
import pytest
from browser import CHROMIUM, told_by_a_browser
from independent import Cells, Disk
from scipy import stats

import prunebench
from prunebench.envs.tasks.task import TaskConfig
from prunebench.harness.analysis.results import Results
from prunebench.harness.errors import ConfigError
from prunebench.harness.record.store import Experiment
from prunebench.harness.report import page as report_page
from prunebench.harness.report.tables import table_agents, table_list

Made = tuple[Experiment, Disk, "Page", str]
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


class Page(HTMLParser):
    """Tables by their id: rows of cells by column; and the verdicts, text outside of scripts, and links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[dict[str, str]]] = {}
        self.verdicts: list[str] = []
        self.addresses: list[str] = []
        self._table, self._column, self._list = "", "", False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.addresses += [v for k, v in values.items() if k in ("src", "href", "xlink:href") and not v.startswith("#")]
        if tag == "table":
            self._table = values["id"]
            self.tables[self._table] = []
        elif tag == "tr" and self._table:
            self.tables[self._table].append({})
        elif tag == "td" or (tag == "p" and "data-column" in values):
            self._column = values["data-column"]
            self.tables[self._table][-1][self._column] = ""
        elif tag == "ul" and values.get("class") == "verdicts":
            self._list = True
        elif tag == "li" and self._list:
            self.verdicts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "p"):
            self._column = ""
        elif tag == "ul":
            self._list = False
            self.verdicts = [sentence.strip() for sentence in self.verdicts]
        elif tag == "table":
            rows = [{key: text.strip() for key, text in row.items()} for row in self.tables[self._table]]
            self.tables[self._table] = [row for row in rows if row]  # no headings

    def handle_data(self, data: str) -> None:
        if self._column:
            self.tables[self._table][-1][self._column] += data
        elif self._list and self.verdicts:
            self.verdicts[-1] += data


def table(page: Page, name: str) -> list[dict[str, str]]:
    return next(rows for key, rows in page.tables.items() if key.endswith(f"-{name}"))


def assert_equal(rows: list[dict[str, str]], expected: Cells, unchecked: tuple[str, ...] = ()) -> None:
    """Every cell is the expected one, and there are no others; the last digit of an interval may differ."""
    shown = {(row["agent"], column): text for row in rows for column, text in row.items() if column not in unchecked}
    wanted = {key: value for key, value in expected.items() if key[1] in {column for _, column in shown}}
    assert shown.keys() == wanted.keys()
    for key, value in wanted.items():
        if isinstance(value, tuple):
            found = [float(number) for number in NUMBER.findall(shown[key].replace("inf", "1e9"))]
            assert found == pytest.approx(value, rel=0.01, abs=0.02), key
        else:
            assert shown[key] == value, key


@pytest.fixture(scope="module", params=[(2, False), (3, True), (6, False)], ids=["2 seeds", "3 seeds", "6 seeds"])
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Experiment, Disk, Page, str]:
    seeds, finetuned = request.param
    experiment = fake.experiment(tmp_path_factory.mktemp("report"), seeds, finetuned=finetuned)
    path = report_page.write(Results([experiment], targets=[70]))
    text = path.read_text()
    return experiment, Disk(experiment.folder), Page(text), text


def test_every_number_of_the_comparison(made: Made) -> None:
    _, disk, page, _ = made
    rows = table(page, "table")
    assert_equal(rows, independent.comparison(disk))
    assert ("finetuned" in rows[0]) == (disk.runs["bo"][0]["tuned"] is not None)


def test_every_number_of_the_statistics(made: Made) -> None:
    assert_equal(table(made[2], "statistics"), independent.statistics(made[1]))


def experiment_order(made: Made) -> list[str]:
    return [agent.label for agent in made[0].config.agents]


def subject(made: Made) -> str:
    """The agent that others are compared with: the last one named."""
    return made[0].config.agents[-1].label


def test_every_number_of_the_differences(made: Made) -> None:
    _, disk, page, _ = made
    assert_equal(table(page, "differences"), independent.differences(disk, subject(made)))


def test_every_number_of_the_variances(made: Made) -> None:
    assert_equal(table(made[2], "variances"), independent.variances(made[1], subject(made)))


def test_every_number_of_the_anytime_view(made: Made) -> None:
    experiment, disk, page, _ = made
    assert_equal(table(page, "anytime"), independent.anytime(disk, experiment.config.evaluations, [70]))


def test_every_run(made: Made) -> None:
    rows = table(made[2], "runs-table")
    expected = {(row["agent"], row["seed"]): row for row in independent.runs(made[1])}
    assert len(rows) == len(expected)
    for row in rows:
        assert row == {column: expected[row["agent"], row["seed"]][column] for column in row}
    assert {"agent", "seed", "status", "test_accuracy", "seconds"} <= set(rows[0])


def test_every_number_of_the_verdicts(made: Made) -> None:
    _, disk, page, _ = made
    means = {agent: independent.mean(disk.values(agent, "test")) for agent in disk.runs}
    best = max(means, key=means.__getitem__)
    first, *others = page.verdicts
    shown = f"{best}, {independent.mean_std(disk.values(best, 'test'), 2)} % (the dense network: "
    assert first.startswith(f"Best mean on the test split: {shown}{100 * disk.dense['test_accuracy']:.2f} %). ")
    ours = subject(made)
    rivals = [said for said in others if said.startswith(f"{ours} ")]
    names = sorted(set(means) - {ours}, key=means.__getitem__, reverse=True)
    for agent, said in zip(names, rivals, strict=True):
        found = independent.against(disk, ours, agent)
        words = {"better": "is better than", "worse": "is worse than", "no difference shown": "not told apart"}
        words |= {"equal within 0.5 points": "are equal within 0.5", "too few runs to test": "too few runs for a test"}
        assert words[found["verdict"]] in said
        assert agent in said
        assert f": {found['difference']:+.2f} points" in said
        if "p" in found:
            turned = independent.against(disk, agent, ours)  # the family is the rivals', against ours
            low, high = sorted(-end for end in turned["interval"])
            p = "< 0.001" if turned["corrected"] < 0.001 else f"= {turned['corrected']:.3f}"
            assert said.endswith(f"points [{low:+.2f}, {high:+.2f}], p {p}.")


def test_the_best_may_be_whoever_no_other_is_shown_to_beat(made: Made) -> None:
    _, disk, page, _ = made
    level, possible, ours = 0.025 / (len(disk.runs) - 1), [], subject(made)
    verdicts = {agent: independent.against(disk, agent, ours)["verdict"] for agent in disk.runs if agent != ours}
    beaten = {agent for agent, verdict in verdicts.items() if verdict == "worse"}
    beaten |= {ours} if "better" in verdicts.values() else set()
    for agent in disk.runs:
        mine = disk.values(agent, "test")
        ps = [
            stats.ttest_ind(mine, disk.values(other, "test"), equal_var=False, alternative="less").pvalue
            for other in disk.runs
            if other != agent
        ]
        possible += [agent] if agent not in beaten and (len(mine) < 3 or min(ps) > level) else []
    said = page.verdicts[0]
    if len(possible) == len(disk.runs):
        assert said.endswith("Any of the agents may be the best.")
    else:
        names = [agent for agent in experiment_order(made) if agent in possible]
        among = f"best is among {', '.join(names[:-1])} and {names[-1]}."
        assert said.endswith(among if len(names) > 1 else "With 95 % confidence it is the best of them.")


def test_the_optimism_is_what_is_beyond_the_uniform_policys(made: Made) -> None:
    _, disk, page, _ = made
    gaps = {
        agent: independent.mean(disk.values(agent, "reward")) - independent.mean(disk.values(agent, "test"))
        for agent in disk.runs
        if agent != "global"  # which does not choose by accuracy
    }
    own = gaps.pop("uniform")
    said = next(said for said in page.verdicts if said.startswith("Optimism"))
    beyond = [gap - own for gap in gaps.values()]
    assert NUMBER.findall(said) == [f"{abs(own):.2f}", f"{min(beyond):+.2f}", f"{max(beyond):+.2f}"]
    assert ("gains" if own < 0 else "loses") in said


def test_what_fine_tuning_changed(made: Made) -> None:
    _, disk, page, _ = made
    if disk.runs["bo"][0]["tuned"] is None:
        pytest.skip("not fine-tuned")
    tuned, means = (
        {agent: independent.mean(disk.values(agent, key)) for agent in disk.runs} for key in ("tuned", "test")
    )
    spans = [f"{max(v.values()) - min(v.values()):.2f}" for v in (tuned, means)]
    assert NUMBER.findall(page.verdicts[-1]) == [f"{max(tuned.values()):.2f}", *spans]


def test_every_number_of_the_claims(made: Made) -> None:
    _, disk, page, _ = made
    rows = {row["claim"]: row for row in page.tables["claims-table"]}
    seeds = len(disk.runs["bo"])
    words = ("same number", "same accuracy", "varies", "MobileNets")
    found = {name: row for claim, row in rows.items() for name in words if name in claim}
    accuracies = [disk.values(agent, "test") for agent in ("clustered_bo", "ddpg")]
    logs = [[math.log(s) for s in disk.values(agent, "seconds")] for agent in ("clustered_bo", "ddpg")]
    for name, (ours, theirs), sign, least, say in (
        ("same number", logs, -1, -math.log(0.95), lambda v: f"{math.exp(v):.2f}"),
        ("MobileNets", accuracies, 1, 0.5, lambda v: f"{v:+.2f}"),
    ):
        effect = independent.mean(ours) - independent.mean(theirs)
        told = NUMBER.findall(found[name]["measured"])
        assert told[0] == say(effect)
        assert [text for text in told if text == str(seeds)] == [str(seeds)] * 2
        if seeds < 3:
            assert found[name]["outcome"] == "undecided"
            continue

        test = stats.ttest_ind(ours, theirs, equal_var=False)
        ends = test.confidence_interval(0.95)
        for text, end in zip(told[1:3], ends, strict=True):
            assert float(text) == pytest.approx(float(say(end)), abs=0.011, rel=0.01)
        most = max(sign * end for end in ends)
        reproduced = test.pvalue <= 0.05 and sign * effect > 0
        outcome = "refuted" if most < least else "reproduced" if reproduced else "undecided"
        assert found[name]["outcome"] == outcome
    numbers, log = independent.to_common_target(disk, "clustered_bo", "ddpg")
    told = NUMBER.findall(found["same accuracy"]["measured"])
    assert told[:5] == numbers
    assert f"{math.exp(log):.2f}" in told[5:]
    ours, theirs = (independent.variance(values) for values in accuracies)
    assert NUMBER.findall(found["varies"]["measured"])[0] == f"{ours / theirs:.2f}"
    others = [row for row in rows.values() if row not in found.values()]
    assert {row["outcome"] for row in others} == {"not tested here"}


@pytest.mark.parametrize("made", [(2, False)], indirect=True)
def test_two_seeds_print_no_significance(made: Made) -> None:
    experiment, _, page, _ = made
    files = "\n".join(path.read_text() for path in sorted(experiment.tables_folder.glob("*.md")))
    for shown in (" ".join(page.verdicts), files):
        assert not re.search(r"p = |p-value|significan|\bbetter\b(?!\))|\bworse\b", shown.replace("P(better)", ""))
    assert {row["p"] for row in table(page, "differences")} == {"-"}


def test_the_report_needs_nothing_else(made: Made) -> None:
    _, _, page, text = made
    assert [address for address in page.addresses if not address.startswith("data:")] == []
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert "@import" not in text
    assert "url(" not in re.sub(r"url\(#[^)]*\)", "", text)


def test_several_experiments_are_reported_together(tmp_path: Path) -> None:
    agents = ("random", "bo", "uniform")
    made = [fake.experiment(tmp_path / f"preserve-{p}", 3, preserve=p, agents=agents) for p in (0.5, 0.3)]
    (tmp_path / "report-tables").mkdir()
    for name in ("components.md", "notes.md"):
        (tmp_path / "report-tables" / name).write_text("of other experiments, and the user's")
    assert report_page.write(Results(made)) == tmp_path / "report.html"
    page = Page((tmp_path / "report.html").read_text())
    rows = page.tables["all-table"]
    assert [row["task"] for row in rows] == ["mobilenetv2, 50 % of MACs"] * 4 + ["mobilenetv2, 30 % of MACs"] * 4
    found = {row["agent"]: row for row in page.tables["all-differences"]}
    assert set(found) == {"random", "bo"}
    assert found["bo"]["runs"] == "6"
    assert "all-statistics" not in page.tables  # accuracies of unlike tasks have no mean
    assert all((experiment.folder / "figures").is_dir() for experiment in made)
    together = pd.read_csv(tmp_path / "report-tables" / "differences.csv").set_index("agent")
    assert f"{together.loc['bo', 'difference']:+.2f}" == found["bo"]["difference"]
    assert {path.suffix for path in (tmp_path / "report-tables").glob("claims.*")} == {".md", ".csv", ".tex"}
    assert {path.stem for path in made[0].tables_folder.glob("*.md")} <= {home.NAME for home in table_list.TABLES}
    assert not (tmp_path / "report-tables" / "components.md").exists()
    assert (tmp_path / "report-tables" / "notes.md").exists()
    report_page.write(Results(made, "bo"), tmp_path / "other.html")
    assert (tmp_path / "other-tables" / "claims.csv").exists()
    report_page.write(Results(made[:1]), tmp_path / "other.html")
    assert not list((tmp_path / "other-tables").iterdir())
    assert not (made[0].folder / "report-tables").exists()
    elsewhere = fake.experiment(tmp_path / "other" / "one", 2, preserve=0.4)
    with pytest.raises(ConfigError, match="several folders"):
        report_page.write(Results([*made, elsewhere]))
    with pytest.raises(ConfigError, match="is a folder"):
        report_page.write(Results(made), tmp_path)


def test_a_report_of_several_experiments_is_as_narrow_as_the_window(tmp_path: Path) -> None:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    made = [fake.experiment(tmp_path / f"p{p}", 2, preserve=p, agents=("random", "bo")) for p in (0.5, 0.4, 0.3)]
    assert told_by_a_browser(report_page.write(Results(made)).read_text(), tmp_path)["wide"] <= 500


def test_splits_have_variance_components(tmp_path: Path) -> None:
    agents = ("random", "bo")
    made = [fake.experiment(tmp_path / str(s), 3, task=TaskConfig(split_seed=s), agents=agents) for s in range(2)]
    page = Page(report_page.write(Results(made)).read_text())
    groups = [Disk(experiment.folder).values("bo", "test") for experiment in made]
    within = independent.mean([independent.variance(group) for group in groups])
    between = 3 * independent.variance([independent.mean(group) for group in groups])
    row = next(row for row in page.tables["all-components"] if row["agent"] == "bo")
    assert row["seed_variance"] == f"{within:.3f}"
    assert row["split_variance"] == f"{max(0, between - within) / 3:.3f}"


def test_an_unfinished_experiment_has_a_report(tmp_path: Path) -> None:
    experiment = fake.experiment(tmp_path, 2)
    for run in experiment.runs()[1:]:
        fake.amend(run, status="running", test=None)
    page = Page(report_page.write(Results([experiment])).read_text())
    assert "1 of 10 runs are done" in " ".join(page.verdicts)
    for run in experiment.runs():
        shutil.rmtree(run.folder, ignore_errors=True)
    page = Page(report_page.write(Results([experiment])).read_text())
    assert page.verdicts == ["No run has a result yet: 0 of 10 are done."]


@pytest.mark.parametrize("seeds", [1, 8])
def test_an_agent_without_a_policy_within_the_budget_is_never_the_best(tmp_path: Path, seeds: int) -> None:
    experiment = fake.experiment(tmp_path, seeds, agents=("uniform", "random", "bo"))
    for seed in range(seeds):
        run = experiment.run("bo", seed)
        lines = [json.loads(text) | {"feasible": False} for text in run.lines_path.read_text().splitlines()]
        fake.put_lines(run, lines)
        fake.amend(run, incumbent=None, test=None)
    page = Page(report_page.write(Results([experiment])).read_text())
    assert page.verdicts[0].startswith("Best mean on the test split: random, ")
    assert "nan" not in " ".join(page.verdicts)
    assert {row["agent"]: row["verdict"] for row in table(page, "differences")}["bo"] == "no runs to compare"


def test_partly_fine_tuned_runs_are_counted(tmp_path: Path) -> None:
    experiment = fake.experiment(tmp_path, 3, agents=("random", "bo"), finetuned=True)
    experiment.run("bo", 1).finetune_path.unlink()
    page = Page(report_page.write(Results([experiment])).read_text())
    assert {row["agent"]: row["finetuned"] for row in table(page, "table")}["bo"].endswith("(2 of 3)")
    assert "5 of 6 runs are fine-tuned" in page.verdicts[-1]
    marks = table_agents.table(Results([experiment])).marks
    assert {column for _, column in marks} == {"test", "reward"}  # of some networks none is the best


def test_a_report_of_some_seeds(tmp_path: Path) -> None:
    agents = ("random", "bo", "uniform")
    made = [fake.experiment(tmp_path / f"p{p}", 5, preserve=p, agents=agents) for p in (0.5, 0.3)]
    report_page.write(Results(made))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    seeds = {"random": 5, "bo": "0-2,4", "uniform": "4-4"}
    config = dataclasses.replace(made[0].config, seeds=tuple(seeds.items()))
    made[0] = dataclasses.replace(made[0], config=config)
    look = Results(made, seeds=(0, 1, 2))
    assert report_page.write(look) == tmp_path / "report-seeds-3.html"
    counts = look.runs.groupby(["task", "agent"])["seed"].agg(list).to_dict()
    tasks = [f"mobilenetv2, {p} % of MACs" for p in (50, 30)]
    assert counts == {(task, a): [0, 1, 2] for task in tasks for a in agents if (task, a) != (tasks[0], "uniform")}
    every = Results(made).runs
    pd.testing.assert_frame_equal(look.runs, every[every["seed"] < 3].reset_index(drop=True))
    assert all(path.read_bytes() == content for path, content in before.items())
    shown = Page((tmp_path / "report-seeds-3.html").read_text()).tables["all-differences"]
    assert [row["runs"] for row in shown if row["agent"] == "random"] == ["6"]
    assert (tmp_path / "report-seeds-3-tables" / "differences.csv").exists()
    shard = dataclasses.replace(made[1], config=dataclasses.replace(made[1].config, shard="1/2"))
    some = {(run.agent, run.seed) for run in shard.runs() if run.seed in (1, 2)}
    assert {(run.agent, run.seed) for run in shard.of_seeds([1, 2]).runs()} == some
    looked = dataclasses.replace(made[1], config=dataclasses.replace(made[1].config, looks=(5, 8)))
    assert {*Results([looked], "random", seeds=(1, 2, 3)).differences["runs"]} == {3}  # by none of its looks
    api = prunebench.load_results(tmp_path / "p0.3", seeds="1-2")
    assert (set(api.runs["seed"]), set(api.experiment.config.seeds_of("bo"))) == ({1, 2}, set(range(5)))
    with pytest.raises(ConfigError, match=r"seeds 7 to 9: .* has no run with one of them: expected some of seeds 0"):
        Results(made, seeds=(7, 8, 9))


def test_agents_names_are_escaped(tmp_path: Path) -> None:
    label = 'bo:note="<script>alert(1)</script>"'
    experiment = fake.experiment(tmp_path, 2, agents=("random", label))
    text = report_page.write(Results([experiment])).read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: the report was not opened in a browser")
def test_a_browser_opens_it_without_an_error_or_a_request(made: Made, tmp_path: Path) -> None:
    _, disk, _, text = made
    told = told_by_a_browser(text, tmp_path)
    assert told["errors"] == []
    assert told["requests"] == []
    assert told["values"] == sorted(told["values"], reverse=True)
    assert len(told["values"]) == len(disk.runs) + 1
    assert told["wide"] <= 500  # tables scroll on their own; the page does not
    assert told["ends"]["test"] <= 500  # is seen without scrolling


def test_the_page_is_small_and_every_figure_has_a_title(tmp_path: Path) -> None:
    """As many evaluations as the reference study's largest experiment."""
    experiment = fake.experiment(tmp_path, 5, evaluations=200, agents=("uniform", "random", "ddpg", "bo", "tpe"))
    text = report_page.write(Results([experiment])).read_text()
    assert len(text) < 375_000  # four of them: below 1.5 MB
    titles = re.findall(r"<figure><h4>([^<]+)</h4>", text)
    assert titles[0] == "Accuracy over the search"
    assert len(titles) == text.count("<figure>") > 3
    first = [text.index(part) for part in ('<ul class="verdicts">', '-table"', titles[0])]
    assert first == sorted(first)
