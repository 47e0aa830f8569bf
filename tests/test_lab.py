"""The fitted tasks, and agents tried out on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from prunebench.agents.base import run_episode
from prunebench.harness import cli
from prunebench.harness.commands import try_agent
from prunebench.harness.lab import fit, recorded_tasks, surface, trial
from prunebench.harness.record import store

REFERENCE = Path(__file__).parents[1] / "results" / "reference"


def test_a_surface_says_what_it_was_not_fitted_to() -> None:
    rng = np.random.default_rng(0)
    logs = np.log(rng.uniform(0.1, 1, (600, 6)))
    matters = np.array([3.0, 2.0, 1.0, 0.5, 0.2, 0.0])
    curved = (matters * logs**2).sum(axis=1) + np.sin(2 * logs[:, 0] * logs[:, 1])
    outcomes = np.stack([curved, 1 - curved / 10], axis=1)
    found = surface.fit(logs[:500], outcomes[:500], np.zeros(500, dtype=bool))
    errors, spread = found(logs[500:]) - outcomes[500:], outcomes[500:].std(axis=0)
    assert (errors.std(axis=0) < 0.2 * spread).all()
    far = found(np.full((1, 6), -100.0))  # nothing beyond what was recorded is ever said
    assert ((far >= outcomes[:500].min(axis=0)) & (far <= outcomes[:500].max(axis=0))).all()


@pytest.mark.parametrize("name", recorded_tasks.TASKS)
def test_a_shipped_task_is_the_recorded_one(name: str) -> None:
    assert (recorded_tasks.FOLDER / f"{name}.npz").stat().st_size < 300_000
    task, recorded = recorded_tasks.load(name), fit.recorded(store.load(REFERENCE / name))
    about, evaluator = task.about, task.evaluator()
    assert about["evaluations"] == len(recorded.loss)
    assert about["quality"]["a random tenth"]["loss_r2"] > 0.95
    rows = [*np.random.default_rng(0).permutation(len(recorded.loss))[:200], *np.flatnonzero(recorded.probe)]
    scores = np.array([evaluator.score(tuple(recorded.counts[row])) for row in rows])
    assert np.sqrt(np.mean((scores[:, 0] - recorded.accuracy[rows]) ** 2)) < 0.03
    assert np.corrcoef(np.log(scores[:, 1]), np.log(recorded.loss[rows]))[0, 1] > 0.97
    env = task.env()
    env.reset()
    line = run_episode(env, recorded.counts[rows[0]] / evaluator.layers["channels"])
    assert (line["channels"], [line["macs"], line["parameters"]]) == (
        recorded.counts[rows[0]].tolist(),
        recorded.costs[rows[0]].tolist(),
    )
    assert line["accuracy"] * about["images"] == pytest.approx(round(line["accuracy"] * about["images"]))


class Lazy:
    """Makes a few evaluations, as many as its option says, of policies that are not within the budget."""

    def __init__(self, *, seed: int, count: int) -> None:
        self.count = count

    def search(self, env: Any, evaluations: int) -> None:
        for _ in range(self.count):
            _, info = env.reset(options={"budget": "none"})
            run_episode(env, np.ones(len(info["layers"]["name"])))


def test_an_agent_that_does_little_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    def ends(count: int) -> tuple[int | str | None, str, str]:
        options = ["--task", "toy", "--seeds", "1", "--evaluations", "5"]
        with pytest.raises(SystemExit) as end:
            cli.main(["try-agent", f"test_lab:Lazy:count={count}", *options])
        return end.value.code, *capsys.readouterr()

    code, out, _ = ends(2)
    assert code == 0
    assert "test_lab:Lazy:count=2 used 2 of 5 evaluations." in out
    assert "test_lab:Lazy:count=2 found no policy within the budget" in out
    assert "1 seed, %" in out
    assert "±" not in out
    code, out, error = ends(0)
    assert (code, out) == (1, "")
    assert error.splitlines()[-1] == "failed: test_lab:Lazy:count=0 made no evaluation on toy, seed 0"


def test_the_command_knows_the_tasks() -> None:
    assert try_agent._TASKS == trial.TASKS


def test_an_agent_is_tried_out(tmp_path: Path) -> None:
    options = ["--task", "mobilenetv2", "--seeds", "2", "--evaluations", "12", "--out", str(tmp_path)]
    result = CliRunner().invoke(cli.cli, ["try-agent", "random", *options], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.output.startswith("This is no ranking of agents.")
    assert "mobilenetv2: fitted to 7,628 policies" in result.output
    rows = [line.split() for line in result.output.splitlines() if line.startswith(("random", "uniform"))]
    means = {row[0]: [float(row[1]), float(row[-3])] for row in rows}
    assert "± half of its 95 % interval" in result.output
    assert "evaluations." not in result.output  # uniform may stop early
    assert means["random"][0] < means["random"][1]  # it learned, and uniform did not
    assert means["uniform"][0] == means["uniform"][1]
    assert {path.name for path in tmp_path.iterdir()} == {"mobilenetv2.svg", "mobilenetv2.pdf"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rndom"], "did you mean 'random'"),
        (["random", "--seeds", "0"], "seeds 0: expected a whole number, at least 1"),
        (["random:step=1"], "random"),
        (["random", "--task", "resnet5"], "resnet56"),
    ],
)
def test_what_cannot_be_tried_is_refused_in_a_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["try-agent", *arguments])
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert message in error
    assert error.count("\n") == 1
