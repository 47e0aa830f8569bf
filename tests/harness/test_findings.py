"""What a run's files say about each other, and which scores count as the same."""

from __future__ import annotations

from pathlib import Path

import fake
import numpy as np
import pytest

from prunebench.envs.environment.channel_pruning import FinalScore
from prunebench.envs.environment.hits import packed
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.record import findings
from prunebench.harness.record.rescored import ELSEWHERE, EXACT, Checked, Rescored

SPLITS = {"reward": 200, "test": 100}


def asking(evaluations: int) -> ExperimentConfig:
    return ExperimentConfig(evaluations=evaluations)


def test_repeats_and_the_incumbent_follow_from_the_lines(tmp_path: Path) -> None:
    made = fake.experiment(tmp_path, seeds=1, agents=("bo",))
    run = made.run("bo", 0)
    lines = [line.model_dump() | {"repeat_of": None} for line in run.lines()]
    scored = {name: lines[2][name] for name in ("channels", "accuracy", "loss", "feasible")}
    lines[5] |= scored | {"repeat_of": 2}
    lines[7] |= scored | {"repeat_of": 5, "loss": scored["loss"] + 0.1, "feasible": False}
    fake.put_lines(run, lines)
    best = min((e for e in lines if e["feasible"]), key=lambda e: (-e["accuracy"], e["loss"], e["index"]))
    fake.amend(run, incumbent=best["index"], test={"accuracy": 0.5, "loss": 1.0, "hits": packed(np.arange(100) < 50)})
    found = {finding.field: finding for finding in findings.of_run(run, run.status(), run.lines(), SPLITS, asking(12))}
    assert set(found) == {"line 8, repeat_of", "line 8, loss"}
    assert (found["line 8, repeat_of"].says, found["line 8, repeat_of"].found) == ("5", "2")

    fake.amend(run, incumbent=(best["index"] + 1) % 12, test=None)
    found = {finding.field: finding for finding in findings.of_run(run, run.status(), run.lines(), SPLITS, asking(11))}
    assert {"incumbent", "test", "lines"} <= set(found)


def scores(apart: list[float], images: int = 0) -> Checked:
    """Of networks whose losses differ so much, relative, and which are right on so many images more."""
    recorded = [
        Rescored(Path("file"), "test.", 100, FinalScore(0.5, 1.0), FinalScore(0.5 + images / 100, 1.0 + x))
        for x in apart
    ]
    return Checked(scores=recorded)


@pytest.mark.parametrize(
    ("checked", "tolerance", "fields"),
    [
        (scores([0, 0, 1e-14]), EXACT, []),
        (scores([0, 0, 1e-9]), EXACT, ["test.loss"]),
        (scores([0, 0, 0], images=1), EXACT, ["test.accuracy"] * 3),
        (scores([1e-7, 1e-9, 3e-8]), ELSEWHERE, []),
        (scores([1e-7, 1e-9, 3e-8], images=2), ELSEWHERE, []),
        (scores([1e-7, 1e-9, 2e-4]), ELSEWHERE, ["test.loss"]),
        (scores([1e-7, 1e-9, 3e-8], images=3), ELSEWHERE, ["test.accuracy"] * 3),
        (scores([float("nan")]), ELSEWHERE, []),
    ],
)
def test_what_counts_as_the_same_score(checked: Checked, tolerance: object, fields: list[str]) -> None:
    assert checked.tolerance is tolerance
    assert [finding.field for finding in checked.all_findings()] == fields
