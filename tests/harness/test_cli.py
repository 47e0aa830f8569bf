"""The command: one line per error, exit codes, no folder left behind; and no torch in its process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import toy_runs

from harness import bench as benches
from harness import cli, executors
from harness.commands import bench as bench_command


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("bench --model mobilenetv9", "did you mean 'mobilenetv2'"),
        ("bench --seeds -1", "seeds -1: expected"),
        ("bench --seeds many", "'many' is not a valid integer"),
        ("bench --preserve nan", "preserve nan: expected"),
        ("bench --preserve 0", "preserve 0: expected"),
        ("bench --preserve 1.5", "preserve 1.5: expected"),
        ("bench --jobs 0", "jobs 0: expected"),
        ("bench --threads 0", "threads 0: expected"),
        ("bench --agents sampler,nobody", "agent 'nobody' is unknown"),
        ("bench --agents ,", "expected at least one"),
        ("bench --dataset imagefolder --data nowhere", "nowhere"),
        ("bench --weights nowhere.pt", "nowhere.pt"),
        ("bench --dataset imagefolder --mean 1,x", "mean '1,x': expected numbers"),
        ("bench --model", "requires an argument"),
        ("bench --sede 3", "--seeds"),
        ("bench more", "unexpected extra argument"),
        ("bnech", "bench"),
        ("table", "--out"),
        ("table --out nowhere", "no experiment"),
        ("table --out nowhere --format pdf", "'pdf' is unknown"),
    ],
)
def test_wrong_input_is_answered_in_one_line(
    arguments: str, words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if arguments.startswith("bench --") and "--agents" not in arguments:
        arguments = arguments.replace("bench", "bench --agents sampler", 1)
    assert run(*arguments.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("prunebench: error: ")
    assert captured.err.count("\n") == 1
    assert words in captured.err
    assert list(tmp_path.iterdir()) == []


def test_list_names_agents_models_and_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    out = capsys.readouterr().out
    assert "sampler" in out
    assert "mobilenetv2" in out
    assert "imagefolder" in out


def test_bench_and_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(executors, "HEAVY_MODULES", ("harness.runner", "torch"))
    monkeypatch.setattr(benches.registry, "own_modules", lambda agents: [])
    parts = {
        "prepare": toy_runs.prepare,
        "run_one": toy_runs.run_one,
        "measure_latency": toy_runs.measure_latency,
    }
    monkeypatch.setattr(bench_command, "bench", lambda *args, **kwargs: benches.bench(*args, **kwargs, **parts))
    words = ["bench", "--agents", "sampler failing", "--seeds", "1", "--evaluations", "4", "--preserve", "0.4"]
    assert run(*words) == 1
    captured = capsys.readouterr()
    (folder,) = Path("results").glob("mobilenetv2-digits-wall-0.4-4-*")
    assert "sampler" in captured.out
    assert f"results in {folder}" in captured.out
    assert "start-up" in captured.out
    assert "failed: failing seed 0: ZeroDivisionError: on purpose" in captured.err
    assert run("table", "--out", str(folder), "--format", "markdown") == 0
    assert capsys.readouterr().out == (folder / "tables" / "table.md").read_text()
    assert run(*words, "--budget", "project", "--out", str(folder)) == 2
    assert "budget is wall, not project" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_the_command_does_not_import_torch() -> None:
    code = "import harness.cli, harness.tables, sys; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, env=os.environ).returncode == 0
