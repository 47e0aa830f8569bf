"""The best policies of a run, scored again: which, how often, what then counts, and what is said of it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import fake
import pytest
from toy_runs import FACTS, LAYERS, TestedEvaluator, environment

from prunebench.envs.environment.channel_pruning import Score
from prunebench.envs.tasks.task import TaskConfig
from prunebench.harness.analysis.results import Results
from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments import config as configs
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.files import write_json, write_text
from prunebench.harness.inside import verify
from prunebench.harness.inside.run import run_one
from prunebench.harness.record import findings
from prunebench.harness.record.incumbents import incumbent
from prunebench.harness.record.journal import candidates
from prunebench.harness.record.rescored import EXACT, Checked
from prunebench.harness.record.run_files import Run
from prunebench.harness.record.store import Experiment
from prunebench.harness.report import overview
from prunebench.harness.report.tables import table_list

SPLITS = {"calibration": 30, "reward": 20, "confirm": 20, "test": 10}


def confirming(config: ExperimentConfig, count: int, evaluations: int = 12) -> ExperimentConfig:
    task = dataclasses.replace(config.task, confirm=count)
    return dataclasses.replace(config, task=task, agents=("sampler",), seeds=1, evaluations=evaluations)


def do(config: ExperimentConfig, folder: Path) -> Run:
    agent = config.agents[0].label
    run_one(lambda *values: None, config, agent, 0, folder, environment=environment)
    return Experiment(folder, config).run(agent, 0)


def test_the_best_are_scored_again_and_charged(config: ExperimentConfig, tmp_path: Path) -> None:
    run = do(confirming(config, 3), tmp_path)
    status, lines = run.status(), run.lines()
    assert len(lines) == 12 - 3
    again = {one.evaluation: one for one in status.confirmed}
    distinct = {tuple(line.channels): line for line in reversed(lines) if line.feasible}.values()
    assert list(again) == [line.index for line in sorted(distinct, key=lambda line: -line.accuracy)[:3]]
    pooled = {index: lines[index].accuracy + one.accuracy for index, one in again.items()}
    best = incumbent(run)
    assert pooled[best.index] == max(pooled.values())
    assert best.index != status.confirmed[0].evaluation  # the toy's confirm split does not like the search's best
    assert status.test is not None
    assert status.test.accuracy == best.accuracy / 2
    assert status.confirmed[0].seconds == {"reconstruction": 0.25, "forward": 0.5}


@pytest.mark.parametrize("scored", range(4))
def test_resuming_repeats_no_score(
    config: ExperimentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scored: int
) -> None:
    config, calls, confirm = confirming(config, 3), [], TestedEvaluator.confirm
    whole = do(config, tmp_path / "whole").status()

    def dying(self: TestedEvaluator, counts: tuple[int, ...]) -> Score:
        calls.append(counts)
        if len(calls) == scored + 1:
            raise KeyboardInterrupt
        return confirm(self, counts)

    monkeypatch.setattr(TestedEvaluator, "confirm", dying)
    assert len(do(config, tmp_path / "x").status().confirmed) == scored
    again = do(config, tmp_path / "x").status()
    assert len(calls) == (4 if scored < 3 else 3)
    assert (again.state, again.confirmed, again.incumbent) == ("done", whole.confirmed, whole.incumbent)


def test_where_one_policy_is_all_nothing_is_confirmed(config: ExperimentConfig, tmp_path: Path) -> None:
    run = do(confirming(config, 2, 3), tmp_path)
    status = run.status()
    assert (status.state, status.confirmed, status.incumbent) == ("done", [], 0)
    assert "confirmed" not in status.content()
    assert candidates(run.lines() * 2, 2) == []


def test_what_was_confirmed_is_told_and_checked(config: ExperimentConfig, tmp_path: Path) -> None:
    config = confirming(config, 2)
    run, experiment = do(config, tmp_path), Experiment(tmp_path, config)
    facts = fake.FACTS | {"splits": SPLITS, "dense": fake.DENSE | {"confirm_accuracy": 0.94}}
    write_text(experiment.yaml_path, configs.to_yaml(config, "made"))
    write_json(experiment.manifest_path, {"threads": 1, "task": facts, "sessions": [fake.SESSION]})
    table = table_list.tables(Results([experiment]))["confirmed"]
    (row,), status, lines = table.rows, run.status(), run.lines()
    first, best = status.confirmed[0], incumbent(run)
    before = 100 * (lines[first.evaluation].accuracy - first.accuracy - (0.95 - 0.94))
    assert (row["runs"], row["confirmed"], row["changed"]) == (1, 2, 1)
    assert math.isclose(row["optimism_before"], before)
    both = (best.accuracy + {one.evaluation: one.accuracy for one in status.confirmed}[best.index]) / 2
    assert status.test is not None
    assert math.isclose(row["optimism_after"], 100 * (both - status.test.accuracy - (0.945 - 0.93)), abs_tol=1e-6)
    assert not [said for said in Results([experiment]).verdicts if said.startswith("Optimism")]
    text = table_list.render(Results([experiment]), "terminal")
    assert "2 best policies of a run were scored again on 20 fresh images" in " ".join(text.split())

    fake.amend(run, confirmed=[status.confirmed[1].model_dump()])
    (found,) = [f for f in findings.of_run(run, run.status(), lines, SPLITS, config) if f.field == "confirmed"]
    assert (found.says, found.found) == tuple(str([c.evaluation for c in status.confirmed[n:]]) for n in (1, 0))


def test_all_that_was_confirmed_is_scored_again(config: ExperimentConfig, tmp_path: Path) -> None:
    run = do(confirming(config, 3), tmp_path)
    again = run.status().confirmed
    (spoiled, *_) = [number for number, one in enumerate(again) if one.evaluation != incumbent(run).index]
    changed = again[spoiled].model_copy(update={"loss": again[spoiled].loss + 1})
    fake.amend(run, confirmed=[one.model_dump() for one in [*again[:spoiled], changed, *again[spoiled + 1 :]]])
    found = Checked()
    evaluator: Any = TestedEvaluator(LAYERS)
    evaluator.dense = FACTS["channels"]
    verify._check_run(found, run, None, verify._Scorer(evaluator, SPLITS))
    assert len([score for score in found.scores if score.field.startswith("confirmed")]) == 3
    (finding,) = [finding for score in found.scores for finding in score.findings(EXACT)]
    assert finding.field == f"confirmed[{spoiled}].loss"


def test_a_run_that_is_still_confirming_shows_the_searchs_best(config: ExperimentConfig, tmp_path: Path) -> None:
    config = confirming(config, 3)
    run, experiment = do(config, tmp_path), Experiment(tmp_path, config)
    write_json(experiment.manifest_path, {"threads": 1, "task": fake.FACTS, "sessions": [fake.SESSION]})
    first, *rest = run.status().confirmed
    assert incumbent(run).index != first.evaluation
    found = Results([experiment]).reading
    assert found.runs["incumbent"][0] == incumbent(run).index
    fake.amend(run, status="running", incumbent=None, test=None, confirmed=[one.model_dump() for one in rest])
    found = Results([experiment]).reading
    assert found.runs["incumbent"][0] == first.evaluation
    assert found.best == []
    (row,) = [line for line in overview.text(Results([experiment])).splitlines() if line.startswith("sampler")][:1]
    assert f"{100 * run.lines()[first.evaluation].accuracy:.2f} %" in row


def test_the_highest_reward_is_best_where_that_is_not_the_accuracy(tmp_path: Path) -> None:
    made = fake.experiment(tmp_path, seeds=2, agents=("bo",), reward="accuracy-guaranteed")
    for seed in range(2):
        run = made.run("bo", seed)
        fake.put_lines(run, [line.model_dump() | {"reward": -line.accuracy - seed} for line in run.lines()])
    reading, lines = Results([made]).reading, made.run("bo", 0).lines()
    worst = min(line.accuracy for line in lines if line.feasible)
    assert reading.runs["reward_accuracy"][0] == 100 * worst
    assert reading.evaluations["incumbent"][len(lines) - 1] == 100 * worst
    ((record, line),) = reading.best
    assert (record.run.seed, line.accuracy) == (0, worst)


def test_evaluations_without_a_finite_loss_are_told_of(tmp_path: Path) -> None:
    made = fake.experiment(tmp_path, seeds=1, agents=("bo",))
    run = made.run("bo", 0)
    lines = [line.model_dump() for line in run.lines()]
    best = run.status().incumbent
    assert best is not None
    lines[best]["loss"] = math.nan
    fake.put_lines(run, lines)
    results = Results([made])
    (row,) = results.runs.to_dict("records")
    assert row["incumbent"] != best
    assert results.reading.evaluations["incumbent"].iloc[-1] == row["reward_accuracy"]
    assert "1 of 12 evaluations had no finite loss; they count as the worst" in table_list.render(results, "terminal")


@pytest.mark.parametrize(("count", "message"), [(1, "leaves nothing to choose"), (6, "less than the 6")])
def test_a_number_that_cannot_be_confirmed_is_refused(count: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configs.check(ExperimentConfig(task=TaskConfig(confirm=count), evaluations=6))


def test_an_accuracy_is_not_confirmed_where_another_reward_counts() -> None:
    config = ExperimentConfig(task=TaskConfig(confirm=2), reward="accuracy-guaranteed")
    with pytest.raises(ConfigError, match="expected --reward accuracy, not accuracy-guaranteed"):
        configs.check(config)
