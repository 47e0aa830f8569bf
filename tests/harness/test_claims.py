"""Published claims: which experiments can test them, and the three outcomes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import fake
import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy import stats

from prunebench.envs.tasks.task import TaskConfig
from prunebench.harness import cli
from prunebench.harness.analysis import claims
from prunebench.harness.analysis.claim_rules import NOT_TESTED, REFUTED, REPRODUCED, UNDECIDED, VARIES, Finding
from prunebench.harness.analysis.claims import Claim
from prunebench.harness.analysis.results import Results
from prunebench.harness.errors import ConfigError
from prunebench.harness.record.store import Experiment
from prunebench.harness.report import recomputed
from prunebench.harness.report.tables import table_claims, table_list


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    return fake.experiment(tmp_path, 8, agents=("ddpg", "bo", "clustered_bo"))


def claim(**test: Any) -> Claim:
    return Claim.model_validate({"id": "x", "source": "s", "claim": "c", "where": test.pop("where", {}), "test": test})


def evaluate(claim: Claim, experiments: list[Experiment], runs: pd.DataFrame | None = None) -> Finding:
    """What came of it, with other values of the runs where they are given."""
    results = Results(experiments)
    return claims.evaluate(claim, results.readings, results.runs if runs is None else runs)


def difference(**rest: Any) -> Claim:
    named = {
        "agent": "clustered_bo",
        "reference": "ddpg",
        "expect": "higher",
        "column": "test_accuracy",
        "relevant": 0.5,
    }
    return claim(kind="difference", **named | rest)


def narrower() -> Claim:
    named = {
        "agent": "clustered_bo",
        "reference": "ddpg",
        "expect": "lower",
        "column": "test_accuracy",
        "relevant": 0.5,
    }
    return claim(kind="variance", **named)


def with_values(runs: pd.DataFrame, column: str = "test_accuracy", **values: list[float]) -> pd.DataFrame:
    """The runs, with other values of some agents; those without values are left out."""
    parts = []
    for agent, numbers in values.items():
        rows = runs[runs["agent"] == agent].head(len(numbers))
        parts.append(rows.assign(**{column: numbers}))
    return pd.concat(parts)


def test_the_published_claims_are_well_formed() -> None:
    found = claims.published()
    assert len({(c.id, c.test.agent) for c in found}) == len(found) >= 10
    assert {c.test.kind for c in found} == {"difference", "variance", "target", "value"}
    assert len({c.id for c in found}) < len(found)  # several pairs of agents for one claim
    with pytest.raises(ValidationError, match="extra"):
        claim(kind="value", column="x", agent="y", published=[1, 2], expect="equals", typo=1)
    with pytest.raises(ValidationError):
        claim(kind="ratio", column="x", agent="y")


def test_a_difference_has_three_ends(experiment: Experiment) -> None:
    runs = Results([experiment]).runs
    low, high = [50.0, 51, 52, 53, 54, 55], [60.0, 62, 64, 66, 68, 70]
    better = with_values(runs, ddpg=low, clustered_bo=high)
    found = evaluate(difference(), [experiment], better)
    test = stats.ttest_ind(high, low, equal_var=False)
    ends = "[{:+.2f}, {:+.2f}]".format(*test.confidence_interval())
    assert found == (
        f"clustered_bo minus ddpg, points: +12.50 {ends} (6 and 6 runs, p = {test.pvalue:.2g})",
        f"+12.50 {ends}",
        REPRODUCED,
    )
    assert evaluate(difference(expect="lower"), [experiment], better).outcome == REFUTED
    same = with_values(runs, ddpg=low, clustered_bo=low)
    assert evaluate(difference(), [experiment], same).outcome == UNDECIDED  # the interval holds more than half a point
    hardly = with_values(runs, ddpg=[50.0, 50.1, 50.2], clustered_bo=[50.3, 50.4, 50.5])
    assert evaluate(difference(relevant=0.3), [experiment], hardly).outcome == REPRODUCED
    assert evaluate(difference(relevant=0.6), [experiment], hardly).outcome == REFUTED  # there, and too small to matter
    close = with_values(runs, ddpg=[50.0, 51, 52, 53, 54], clustered_bo=[53.0, 54, 55, 56, 57])  # p = 0.017
    found = evaluate(difference(level=0.05 / 3), [experiment], close)
    assert (evaluate(difference(), [experiment], close).outcome, found.outcome) == (REPRODUCED, UNDECIDED)
    test = stats.ttest_ind([3.0, 4, 5, 6, 7], [0.0, 1, 2, 3, 4], equal_var=False)
    assert "[{:+.2f}, {:+.2f}]".format(*test.confidence_interval(1 - 0.05 / 3)) in found.effect
    few = with_values(runs, ddpg=low[:2], clustered_bo=high[:2])
    found = evaluate(difference(), [experiment], few)
    assert found == ("clustered_bo minus ddpg, points: +10.50 (2 and 2 runs; too few for a test)", "+10.50", UNDECIDED)


def several(tmp_path: Path, seeds: int = 3) -> list[Experiment]:
    return [fake.experiment(tmp_path / str(p), seeds, agents=("ddpg", "clustered_bo"), preserve=p) for p in (0.5, 0.3)]


def with_column(runs: pd.DataFrame, column: str, ddpg: list[float], clustered_bo: list[float]) -> pd.DataFrame:
    for agent, values in (("ddpg", ddpg), ("clustered_bo", clustered_bo)):
        runs.loc[runs["agent"] == agent, column] = values
    return runs


def test_several_tasks_count_together_where_they_agree(tmp_path: Path) -> None:
    made = several(tmp_path)
    runs = with_column(Results(made).runs, "test_accuracy", [0, 1, 2, 10, 11, 12], [7, 8, 9, 16, 17, 18])
    found = evaluate(difference(), made, runs)
    assert found.outcome == REPRODUCED
    assert "+6.50" in found.effect
    assert "6 and 6 runs of 2 tasks" in found.measured
    assert found.measured.endswith("50 % of MACs: +7.00, mobilenetv2, 30 % of MACs: +6.00)")
    runs = with_column(runs, "test_accuracy", [0, 1, 2, 10, 11, 12], [7, 8, 9, 4, 5, 6])
    found = evaluate(difference(), made, runs)
    assert found.outcome == VARIES
    assert "not the same in all tasks" in found.measured


def test_seconds_of_long_and_short_tasks_count_alike(tmp_path: Path) -> None:
    made = several(tmp_path)
    ddpg = [10.0, 10.1, 10.2, 2000, 2010, 2020]
    half = with_column(Results(made).runs, "seconds", ddpg, [value / 2 for value in ddpg])
    found = evaluate(difference(column="seconds", expect="lower", relevant=0.05), made, half)
    assert found.measured.startswith("time of clustered_bo over that of ddpg, geometric mean: 0.50 [0.49, 0.51]")
    assert found.outcome == REPRODUCED
    nearly = with_column(half, "seconds", ddpg, [value * 0.98 for value in ddpg])
    assert evaluate(difference(column="seconds", expect="lower", relevant=0.05), made, nearly).outcome == REFUTED
    mixed = with_column(half, "seconds", ddpg, [*(value / 2 for value in ddpg[:3]), *(value * 2 for value in ddpg[3:])])
    assert evaluate(difference(column="seconds", expect="lower", relevant=0.05), made, mixed).outcome == VARIES


def test_a_variance_has_three_ends(experiment: Experiment) -> None:
    runs = Results([experiment]).runs
    wide, narrow = [50.0, 60, 70, 80, 90, 40, 30, 95], [70.0, 70.5, 71, 71.5, 72, 70, 70.2, 71]
    assert evaluate(narrower(), [experiment], with_values(runs, ddpg=wide, clustered_bo=narrow)).outcome == REPRODUCED
    assert evaluate(narrower(), [experiment], with_values(runs, ddpg=narrow, clustered_bo=wide)).outcome == REFUTED
    few = with_values(runs, ddpg=wide[:3], clustered_bo=narrow[:3])
    assert evaluate(narrower(), [experiment], few).outcome == UNDECIDED
    alike = with_values(runs, ddpg=wide, clustered_bo=[value + 1 for value in wide])
    found = evaluate(narrower(), [experiment], alike)
    assert found.measured.startswith("variance of clustered_bo over that of ddpg, ratio: 1.00 [")
    constant = with_values(runs, ddpg=[50.0] * 8, clustered_bo=[50.0] * 8)
    assert evaluate(narrower(), [experiment], constant).outcome == NOT_TESTED


def test_variances_of_tasks_of_any_scale_count_alike(tmp_path: Path) -> None:
    made = several(tmp_path, 5)
    narrow, wide = np.array([70.0, 70.1, 69.9, 70.3, 69.8]), np.array([60.0, 66, 54, 71, 50])
    runs = with_column(Results(made).runs, "test_accuracy", [*wide, *narrow / 100], [*narrow, *wide / 100])
    found = evaluate(narrower(), made, runs)
    assert found.measured.startswith("variance of clustered_bo over that of ddpg, ratio: 1.00 [")
    assert "10 and 10 runs of 2 tasks" in found.measured
    ratio = np.var(narrow, ddof=1) / np.var(wide, ddof=1)
    first, second = Results(made).readings
    assert found.measured.endswith(f"; {first}: {ratio:.2f}, {second}: {1 / ratio:.2f})")


def test_a_users_own_claims(tmp_path: Path, experiment: Experiment) -> None:
    path = tmp_path / "my.yaml"
    test = "{kind: difference, column: test_accuracy, agent: bo, reference: ddpg, expect: higher, relevant: 0.5}"
    path.write_text(f"- {{id: mine, source: us, claim: BO is better, test: {test}}}\n")
    (mine,) = claims.read(path)
    assert (mine.id, mine.test.agent) == ("mine", "bo")
    for text, words in (
        (path.read_text().replace("relevant: 0.5", "relevant: 0"), "relevant: Input should be greater than 0"),
        ("- 3", "expected a list of claims"),
        ("[]", "expected a list of claims"),
        (path.read_text().replace("agent: bo", "agent: ddpg"), "agent and reference are the same"),
        (path.read_text().replace("test_accuracy", "status"), "column"),
        (path.read_text().replace("test_accuracy", "seconds").replace("0.5", "5"), "expected a share below 1"),
        ("a: [", "line 1"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=words) as error:
            claims.read(path)
        assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="No such file"):
        claims.read(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("expect", "centre", "outcome"),
    [
        ("reaches", 91.6, UNDECIDED),
        ("reaches", 95.0, REPRODUCED),
        ("reaches", 90.0, REFUTED),
        ("equals", 92.0, REPRODUCED),
        ("equals", 95.0, REFUTED),
    ],
)
def test_a_value_is_reproduced_or_not(experiment: Experiment, expect: str, centre: float, outcome: str) -> None:
    test = claim(kind="value", column="test_accuracy", agent="ddpg", published=[91.5, 92.1], expect=expect)
    values = [centre + shift for shift in (-0.2, -0.1, 0, 0.1, 0.2)]
    runs = Results([experiment]).runs
    assert evaluate(test, [experiment], with_values(runs, ddpg=values)).outcome == outcome
    assert evaluate(test, [experiment], with_values(runs, ddpg=values[:2])).outcome == UNDECIDED
    noise = [centre + shift for shift in (-30, -20, 0, 20, 30)]
    assert evaluate(test, [experiment], with_values(runs, ddpg=noise)).outcome == UNDECIDED


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"models": ["resnet*"]}, "needs the network resnet*"),
        ({"datasets": ["cifar10"]}, "needs the data set cifar10"),
        ({"preserve": 0.3}, "needs preserve 0.3"),
        ({"layers": 27}, "needs a network of at least 27 prunable layers, this has 5"),
    ],
)
def test_what_an_experiment_lacks_is_named(experiment: Experiment, where: dict[str, Any], words: str) -> None:
    found = evaluate(difference(where=where), [experiment])
    assert found == (words, "", NOT_TESTED)


def test_what_runs_lack_is_named(experiment: Experiment) -> None:
    runs = Results([experiment]).runs
    assert evaluate(difference(agent="tpe"), [experiment], runs) == ("needs finished runs of tpe", "", NOT_TESTED)
    tuned = difference(column="finetuned_accuracy")
    assert evaluate(tuned, [experiment], runs) == ("needs fine-tuned runs of clustered_bo", "", NOT_TESTED)


def test_an_agent_with_options_stands_in_for_its_name(tmp_path: Path) -> None:
    agents = ("ddpg:preset=paper", "clustered_bo", "clustered_bo:preset=paper")
    made = fake.experiment(tmp_path, 2, agents=agents, task=TaskConfig(model="resnet56"))
    found = evaluate(difference(), [made])
    assert found.measured.startswith("clustered_bo minus ddpg:preset=paper, points: ")


def test_a_claim_is_tested_for_the_pairs_that_took_part(experiment: Experiment) -> None:
    found = Results([experiment]).findings.set_index("id")
    assert list(found.loc[["bocr-variance"], "agent"]) == ["clustered_bo"]
    assert list(found.loc[["amc-resnet20"], "outcome"]) == [NOT_TESTED]
    assert found.index.is_unique


def test_every_pair_that_took_part_has_its_row(tmp_path: Path) -> None:
    made = fake.experiment(tmp_path, 3, agents=("ddpg", "bo", "clustered_bo", "adaptive_clustered_bo"))
    found = Results([made]).findings
    for claim_id in ("bocr-variance", "bocr-time", "bocr-time-to-target", "bocr-mobilenet"):
        rows = found[found["id"] == claim_id]
        assert list(rows["agent"]) == ["clustered_bo", "adaptive_clustered_bo"]
        assert NOT_TESTED not in set(rows["outcome"])


def test_a_paper_preset_alone_is_one_row(tmp_path: Path) -> None:
    made = fake.experiment(tmp_path, 8, agents=("ddpg", "clustered_bo:preset=paper"))
    found = Results([made]).findings
    assert list(found[found["id"] == "bocr-time"]["agent"]) == ["clustered_bo:preset=paper"]


def test_a_preset_that_is_a_pair_of_its_own_stands_in_for_no_other(tmp_path: Path) -> None:
    agents = ("bo", "ddpg:preset=paper", "clustered_bo:preset=paper")
    made = fake.experiment(tmp_path, 8, agents=agents, task=TaskConfig(model="resnet56"))
    found = evaluate(difference(reference="bo"), [made])
    assert found == ("needs finished runs of clustered_bo", "", NOT_TESTED)


def timed(experiment: Experiment, agent: str, seed: int, steps: list[float], own: float) -> None:
    """Give a run these accuracies, evaluations of 1 s and ``own`` seconds of the agent before each."""
    run = experiment.run(agent, seed)
    seconds = {"agent": own, "reconstruction": 0.25, "forward": 0.75, "environment": 0.0}
    lines = [line.model_dump() for line in run.lines()[: len(steps)]]
    for line, accuracy in zip(lines, steps, strict=True):
        line |= {"accuracy": accuracy, "reward": accuracy, "feasible": True, "seconds": seconds}
    fake.put_lines(run, lines)
    fake.amend(run, incumbent=int(np.argmax(steps)), status="done")


def target() -> Claim:
    return claim(kind="target", column="seconds", agent="clustered_bo", reference="ddpg", expect="lower", relevant=0.05)


def test_time_to_an_accuracy_that_every_run_reached(tmp_path: Path) -> None:
    made = fake.experiment(tmp_path, 6, agents=("ddpg", "clustered_bo"))
    for seed in range(6):
        timed(made, "ddpg", seed, [0.5, 0.5, 0.5, 0.8], own=0.0)
        timed(made, "clustered_bo", seed, [0.5, 0.9 if seed else 0.7, 0.95 if seed else 0.7], own=1.0)
    found = evaluate(target(), [made])
    # 70 %, which the second evaluation of one and the fourth of the other reach: 2 * (1 + 1) s and 4 * (1 + 0) s.
    assert found.measured.startswith(
        "to 70.00 % on the reward split clustered_bo needs 2 evaluations and 2.0 s of its own, ddpg 4 and 0.0 s: "
        "quicker where an evaluation takes more than 1 s; time of clustered_bo over that of ddpg, geometric mean: 1"
    )
    assert found.outcome == REFUTED  # both always take 4 s
    for seed in range(6):
        timed(made, "clustered_bo", seed, [0.5, 0.9, 0.95], own=0.0)
    found = evaluate(target(), [made])
    assert (
        "quicker whatever an evaluation costs; time of clustered_bo over that of ddpg, geometric mean: 0.50"
        in found.measured
    )
    assert found.outcome == REPRODUCED


def test_time_to_an_accuracy_with_few_seeds(tmp_path: Path) -> None:
    made = fake.experiment(tmp_path, 2, agents=("ddpg", "clustered_bo"))
    assert evaluate(target(), [made]).outcome == UNDECIDED


def test_a_target_that_the_uniform_policy_has_for_nothing_is_none(tmp_path: Path) -> None:
    made = fake.experiment(tmp_path, 6, agents=("uniform", "ddpg", "clustered_bo"))
    for seed in range(6):
        timed(made, "uniform", seed, [0.75], own=0.0)
        timed(made, "ddpg", seed, [0.5, 0.6, 0.7], own=0.0)
        timed(made, "clustered_bo", seed, [0.9], own=0.0)
    found = evaluate(target(), [made])
    assert found == ("what every run reaches, 70.00 %, is not above the uniform policy's 75.00 %", "", NOT_TESTED)


def test_a_run_without_a_policy_within_the_budget_leaves_no_target(tmp_path: Path) -> None:
    made = fake.experiment(tmp_path, 3, agents=("ddpg", "clustered_bo"))
    run = made.run("ddpg", 1)
    fake.put_lines(run, [line.model_dump() | {"feasible": False} for line in run.lines()])
    fake.amend(run, incumbent=None, test=None)
    found = evaluate(target(), [made])
    assert (found.outcome, "no policy within the budget" in found.measured) == (NOT_TESTED, True)


def test_tasks_without_both_agents_do_not_count(tmp_path: Path) -> None:
    made = [
        fake.experiment(tmp_path / "a", 3, agents=("ddpg", "clustered_bo"), preserve=0.5),
        fake.experiment(tmp_path / "b", 3, agents=("ddpg",), preserve=0.3),
    ]
    assert "(3 and 3 runs, p = " in evaluate(difference(), made).measured
    apart = [fake.experiment(tmp_path / "c", 3, agents=("clustered_bo",), preserve=0.5), made[1]]
    found = evaluate(difference(), apart)
    assert found == ("needs finished runs of clustered_bo and ddpg on one task", "", NOT_TESTED)


def test_the_report_command_says_how_a_users_claims_ended(tmp_path: Path) -> None:
    made = fake.experiment(tmp_path / "x", 8, agents=("uniform", "ddpg", "clustered_bo"))
    runs = Results([made]).runs
    values = {
        agent: runs.loc[runs["agent"] == agent, "test_accuracy"].astype(float) for agent in ("ddpg", "clustered_bo")
    }
    gain = values["clustered_bo"].mean() - values["ddpg"].mean()
    up, down = ("higher", "lower") if gain > 0 else ("lower", "higher")
    test = "{{kind: difference, column: test_accuracy, {1}, relevant: 0.5}}"
    claim = f"- {{{{id: {{0}}, source: us, claim: It is {{0}}, test: {test}}}}}"
    pair = "agent: clustered_bo, reference: ddpg, expect: "
    asked = {"reproduced": pair + up, "refuted": pair + down}
    path = tmp_path / "my.yaml"
    path.write_text("\n".join(claim.format(outcome, test) for outcome, test in asked.items()))
    assert cli._exit_code(["report", str(made.folder), "--claims", str(path)]) == 0
    told = pd.read_csv(made.tables_folder / "claims.csv")
    assert list(told["outcome"]) == list(told["id"]) == list(asked)
    for agent in ("ddpg", "clustered_bo"):  # two runs that agree about nothing
        for run in made.runs():
            if run.agent == agent and run.seed > 1:
                fake.amend(run, status="failed", test=None)
    assert cli._exit_code(["report", str(made.folder), "--claims", str(path)]) == 0
    assert set(pd.read_csv(made.tables_folder / "claims.csv")["outcome"]) == {"undecided"}


def test_a_users_claims_about_our_own_agent_are_told_and_what_was_registered_is_not_replaced(tmp_path: Path) -> None:
    made = fake.experiment(tmp_path / "x", 8, agents=("bo", "ddpg", "adaptive_clustered_bo", "clustered_bo"))
    path = tmp_path / "my.yaml"
    pairs = "pairs: [[adaptive_clustered_bo, ddpg], [clustered_bo, ddpg]]"
    test = f"{{kind: difference, column: test_accuracy, {pairs}, expect: higher, relevant: 0.5, level: 0.01}}"
    path.write_text(f"- {{id: mine, source: us, claim: It is better, test: {test}}}\n")
    table = table_claims.table(Results([made], claims=path))
    assert [row["agent"] for row in table.rows] == ["adaptive_clustered_bo", "clustered_bo"]
    assert "on the test split, at 1 %, not" in table.caption
    assert table_claims.own(Results([made], claims=path)) is None
    registered = dataclasses.replace(made, config=dataclasses.replace(made.config, claims=claims.sha256(path)))
    assert table_claims.table(Results([registered])) is None
    assert table_claims.own(Results([registered])) is None
    theirs = Results([registered], claims=path)
    assert "registered before the first run" in table_claims.table(theirs).notes[0]


def test_what_was_registered_is_no_finding_of_verify_though_it_is_named_as_a_published_claim(tmp_path: Path) -> None:
    made = fake.experiment(tmp_path / "x", 8, agents=("ddpg", "clustered_bo"))
    path = tmp_path / "my.yaml"
    test = "{kind: variance, column: test_accuracy, agent: clustered_bo, reference: ddpg, expect: lower, relevant: 0.5}"
    path.write_text(f"- {{id: {claims.published()[1].id}, source: us, claim: It varies less, test: {test}}}\n")
    registered = dataclasses.replace(made, config=dataclasses.replace(made.config, claims=claims.sha256(path)))
    table_list.write(Results([registered], claims=path))
    compared = recomputed.compare(registered)
    assert compared.findings == []
    assert any("not compared, of a user's claims: claims.csv" in note for note in compared.notes)
    assert any(finding.file.name == "claims.csv" for finding in recomputed.compare(made).findings)
