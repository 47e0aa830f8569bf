"""The real command on the embedded data set, with a network whose weights are random: nothing is trained."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

COMMAND = [sys.executable, "-c", "from prunebench.harness.cli import main; main()"]
ONCE = ["uniform", "global"]  # one evaluation, whatever the seed
AGENTS = [*ONCE, "random", "greedy", "ddpg", "bo", "clustered_bo", "adaptive_clustered_bo"]
EVALUATIONS, SEEDS = 12, 2


def bench(out: Path, weights: str, *extra: str) -> list[str]:
    options = {"model": "resnet20", "weights": weights, "evaluations": EVALUATIONS, "seeds": SEEDS, "reward-images": 30}
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return [*COMMAND, "bench", *flags, "--out", str(out), *extra]


def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, **options)


def lines(out: Path) -> dict[str, list[dict[str, Any]]]:
    """Every run's lines without the times, which no two runs share."""
    found = {}
    for file in sorted((out / "runs").rglob("*.jsonl")):
        rows = [json.loads(text) for text in file.read_text().splitlines()]
        found[str(file.relative_to(out))] = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
    return found


def of_agents(out: Path, agents: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    return {path: rows for path, rows in lines(out).items() if path.split("/")[2] in agents}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, checkpoint: Callable[[str], str]) -> tuple[Path, str]:
    """An experiment of one seed, to which a second was added."""
    out = tmp_path_factory.mktemp("results") / "undisturbed"
    for seeds in (1, SEEDS):
        result = run([*bench(out, checkpoint("resnet20")), "--seeds", str(seeds)])
        assert result.returncode == 0, result.stderr
        assert len(lines(out)) == len(AGENTS) * seeds
    return out, result.stdout


def test_every_agent_is_run_over_every_seed_and_tabulated(undisturbed: tuple[Path, str]) -> None:
    out, printed = undisturbed
    table = pd.read_csv(out / "tables" / "table.csv")
    assert list(table["agent"]) == ["dense", *AGENTS]
    runs = pd.read_csv(out / "tables" / "runs.csv")
    assert list(runs["status"]) == ["done"] * len(AGENTS) * SEEDS
    assert list(runs["evaluations"]) == [1] * len(ONCE) * SEEDS + [EVALUATIONS] * (len(AGENTS) - len(ONCE)) * SEEDS
    assert (runs["macs_kept_percent"] <= 50).all()
    for agent in AGENTS:
        assert agent in printed
    recorded = lines(out)
    assert len(recorded) == len(AGENTS) * SEEDS
    best = max(row["accuracy"] for row in recorded["runs/resnet20/random/seed-1.jsonl"] if row["feasible"])
    row = runs[(runs["agent"] == "random") & (runs["seed"] == 1)].iloc[0]
    assert row["reward_accuracy_percent"] == pytest.approx(100 * best)


def test_other_seeds_search_elsewhere_and_those_without_a_search_do_not(undisturbed: tuple[Path, str]) -> None:
    recorded = lines(undisturbed[0])
    for agent in AGENTS:
        first, second = (recorded[f"runs/resnet20/{agent}/seed-{seed}.jsonl"] for seed in range(2))
        assert (first == second) == (agent in ONCE)


def test_the_same_command_again_runs_nothing(undisturbed: tuple[Path, str], checkpoint: Callable[[str], str]) -> None:
    out, printed = undisturbed
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*.json*")}
    again = run(bench(out, checkpoint("resnet20")))
    assert again.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*.json*")} == before
    table = [line for line in printed.splitlines() if line.split()[:1] == ["clustered_bo"]]
    assert table[0] in again.stdout


def test_killed_at_a_random_moment_it_goes_on_to_the_same_lines(
    undisturbed: tuple[Path, str], checkpoint: Callable[[str], str], tmp_path: Path
) -> None:
    """The other experiment's seeds were run one after the other, these at once; the controls and two agents will do."""
    out, agents = tmp_path / "killed", (*ONCE, "random", "greedy", "ddpg", "adaptive_clustered_bo")
    command = bench(out, checkpoint("resnet20"), "--agents", "ddpg adaptive_clustered_bo")
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, stdin=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 200
    wanted = random.randint(1, 40)  # lines, of a hundred
    while sum(map(len, lines_that_parse(out))) < wanted and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
    paid = sum(map(len, lines_that_parse(out)))
    assert run(command).returncode == 0
    assert lines(out) == of_agents(undisturbed[0], agents)
    assert 0 < paid < sum(map(len, lines(out).values()))


def lines_that_parse(out: Path) -> list[list[str]]:
    return [[t for t in f.read_text().splitlines(keepends=True) if t.endswith("\n")] for f in out.rglob("*.jsonl")]


def test_a_job_array_and_an_agent_that_is_added_make_the_experiment_in_parts(
    undisturbed: tuple[Path, str], checkpoint: Callable[[str], str], tmp_path: Path
) -> None:
    """Two processes with a folder each do the runs of the controls; those of one more agent come afterwards."""
    whole, controls = undisturbed[0], (*ONCE, "random", "greedy")
    outs = [tmp_path / f"part-{part}" for part in (1, 2)]
    commands = [
        bench(out, checkpoint("resnet20"), "--agents", "random", "--shard", f"{part}/2", "--jobs", "1")
        for part, out in enumerate(outs, 1)
    ]
    processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for command in commands]
    said = [process.communicate(timeout=280)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert [len(lines(out)) for out in outs] == [4, 4]
    out = tmp_path / "all"
    merged = run([*COMMAND, "merge", *map(str, outs), "--out", str(out)])
    assert merged.returncode == 0, merged.stderr
    assert f"{len(controls) * SEEDS} of them done" in merged.stdout
    stamps = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*.json*")}
    added = run([*COMMAND, "bench", "--add-agents", "--agents", "bo", "--out", str(out)])
    assert added.returncode == 0, added.stderr
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert lines(out) == of_agents(whole, (*controls, "bo"))
    again = run([*COMMAND, "table", str(out), str(whole), "--format", "csv"])
    assert again.returncode == 0, again.stderr
    assert len(again.stdout.splitlines()) == 1 + 1 + len(AGENTS)  # the same runs in two folders, counted once


def test_other_changes_than_more_seeds_are_refused(
    undisturbed: tuple[Path, str], checkpoint: Callable[[str], str]
) -> None:
    out = undisturbed[0]
    before = lines(out)
    refused = run(bench(out, checkpoint("resnet20"), "--preserve", "0.4"))
    assert refused.returncode == 2
    assert "preserve is 0.5, not 0.4" in refused.stderr
    assert lines(out) == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "mobilenetv9"], "did you mean 'mobilenetv2'?"),
        (["--seeds", "-1"], "seeds -1: expected"),
        (["--seeds", "many"], "many"),
        (["--preserve", "nan"], "preserve nan: expected"),
        (["--preserve", "0.001"], "cannot be met"),
        (["--dataset", "imagefolder", "--data", "nowhere"], "nowhere"),
        (["--model", "resnet56"], "are not of this network"),
        (["--agents", "random clustered-bo"], "did you mean 'clustered_bo'?"),
        (["--evalutions", "3"], "--evalutions"),
    ],
)
def test_bad_input_gets_one_line_and_leaves_nothing(
    flags: list[str], message: str, checkpoint: Callable[[str], str], tmp_path: Path
) -> None:
    result = run(bench(tmp_path / "out", checkpoint("resnet20"), *flags), cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.stdout + result.stderr
    assert not list(tmp_path.iterdir())
