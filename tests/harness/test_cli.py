"""The command: one line per error, exit codes, no folder left behind; and no torch in its process."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import toy_runs

from prunebench.harness import cli
from prunebench.harness.analysis import comparison, sequential
from prunebench.harness.analysis.results import Results
from prunebench.harness.commands import bench as bench_command
from prunebench.harness.experiments import ahead, registry
from prunebench.harness.record import store
from prunebench.harness.record.journal import incumbent
from prunebench.harness.running import bench as benches
from prunebench.harness.running import checking
from prunebench.harness.running import score as scoring


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command runs in place of the real thing."""
    monkeypatch.setattr(ahead, "modules", lambda *agents: toy_runs.MODULES)
    parts = {"prepare": toy_runs.prepare, "run_one": toy_runs.run_one, "measure_latency": toy_runs.measure_latency}
    monkeypatch.setattr(bench_command, "bench", lambda *args, **kwargs: benches.bench(*args, **kwargs, **parts))
    monkeypatch.setattr(checking, "CHECK_AHEAD", toy_runs.check_ahead)
    return parts


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
        ("bench --seeds many", "seeds 'many': expected how many"),
        ("bench --seeds 5-3", "seeds '5-3': expected"),
        ("bench --shard 3/2", "shard '3/2': expected which part of how many"),
        ("bench --shard 9/9", "shard '9/9': none of the experiment's runs is in it"),
        ("bench --add-agents", "add-agents: expected --out"),
        ("bench --max-seeds 8", "max-seeds 8: expected --until-decided beside it"),
        ("bench --until-decided --seeds 3", "until-decided: seeds are added by what all runs show; leave out --seeds"),
        ("bench --until-decided --max-seeds 0", "max-seeds 0: expected 3 or more"),
        ("bench --claims nowhere.yaml", "claims 'nowhere.yaml': "),
        ("bench --add-agents --out nowhere", "folder 'nowhere' holds no experiment"),
        ("bench more.yaml --add-agents", "leave out 'more.yaml'"),
        ("merge nowhere elsewhere --out all", "'nowhere' holds no experiment"),
        ("merge nowhere", "--out"),
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
        ("bench more.yaml", "experiment file 'more.yaml': no such file"),
        ("bench more.yaml again.yaml", "unexpected extra argument"),
        ("bench more.yaml --dry-run", "no such file"),
        ("list agent", "did you mean 'agents'"),
        ("show nowhere", "'nowhere' holds no experiment"),
        ("show", "no experiment under 'results'"),
        ("score", "--policy"),
        ("score --policy x.json --seed 1", "expected --from beside them"),
        ("score --from x --policy x.json", "leave out --policy"),
        ("score --from x --model resnet20", "leave out --model"),
        ("score --from nowhere", "'nowhere' holds no experiment"),
        ("verify nowhere", "'nowhere' holds no experiment"),
        ("score --policy nowhere.json", "policy 'nowhere.json': no such file"),
        ("score nowhere --policy nowhere.json --model resnet20", "leave out --model"),
        ("bnech", "bench"),
        ("table", "no experiment under 'results'"),
        ("table nowhere", "no experiment"),
        ("table --out nowhere", "No such option '--out'"),
        ("table nowhere --format pdf", "format 'pdf' is unknown"),
        ("table --format latx", "did you mean 'latex'"),
        ("bench --dataset digit", "did you mean 'digits'"),
        ("bench --dataset nodata:load", "dataset 'nodata:load': no module 'nodata'"),
        ("bench --no-flips", "dataset 'digits' fixes flips"),
        ("bench --scope iner", "scope 'iner' is unknown: expected one of all, inner; did you mean 'inner'?"),
        ("bench --importance taylr", "did you mean 'taylor'"),
        ("bench --reconstruction least-square", "did you mean 'least-squares'"),
        ("bench --device cudaa", "did you mean 'cuda'"),
        ("bench --cost mac", "did you mean 'macs'"),
        ("bench --budget wal", "did you mean 'wall'"),
        ("bench --reward acuracy", "did you mean 'accuracy'"),
        ("bench --engine rey", "did you mean 'ray'"),
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


def test_bench_and_table(capsys: pytest.CaptureFixture[str], toy: dict[str, Any], tmp_path: Path) -> None:
    words = ["bench", "--agents", "sampler failing", "--seeds", "1", "--evaluations", "4", "--preserve", "0.4"]
    assert run(*words, "--notify", 'echo "$PRUNEBENCH_EXIT_CODE $PRUNEBENCH_SUMMARY" > results/told; exit 3') == 1
    captured = capsys.readouterr()
    (folder,) = Path("results").glob("mobilenetv2-digits-wall-0.4-4-*")
    assert Path("results/told").read_text() == f"1 prunebench: experiment {folder}: something failed\n"
    assert "> results/told; exit 3' failed: exit code 3" in captured.err
    assert "sampler" in captured.out
    assert "Best mean on the test split: " in captured.out
    assert f"results in {folder}" in captured.out
    assert "start-up" in captured.out
    assert "failed: failing seed 0: ZeroDivisionError: on purpose" in captured.err
    assert run("table", str(folder), "--format", "markdown") == 0
    assert capsys.readouterr().out == (folder / "tables" / "table.md").read_text()
    assert run(*words, "--budget", "project", "--out", str(folder)) == 2
    assert "budget is wall, not project" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_agents_are_added_where_that_is_asked_for(
    capsys: pytest.CaptureFixture[str], toy: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ["bench", "--agents", "sampler", "--seeds", "2-3", "--evaluations", "3", "--out", "x"]
    assert run(*first) == 0
    stamps = {path: path.stat().st_mtime_ns for path in Path("x/runs").rglob("*.json*")}
    capsys.readouterr()
    more = [part if part != "sampler" else "sampler global" for part in first]
    assert run(*more) == 2
    captured = capsys.readouterr().err
    assert "agents is sampler, not global sampler): only seeds can be added, and agents with --add-agents" in captured
    monkeypatch.setattr(
        registry, "CONTROLS", ("slow",)
    )  # which joins an experiment that begins, and none that is there
    add = ["bench", "--add-agents", "--agents", "global", "--out", "x"]
    assert run(*add, "--evaluations", "4") == 2
    assert "evaluations is 3, not 4" in capsys.readouterr().err
    assert run(*add) == 0
    config = store.load(Path("x")).config
    assert ([agent.label for agent in config.agents], config.seeds) == (["sampler", "global"], "2-3")
    assert run(*add, "--seeds", "0") == 2
    assert run(*add, "--seeds", "7-7") == 0
    assert store.load(Path("x")).config.seeds == (("sampler", "2-3"), ("global", "2-3,7"))
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    monkeypatch.setattr(registry, "CONTROLS", ())
    capsys.readouterr()
    assert run(*first) == 0
    captured = capsys.readouterr().err
    assert "has sampler, global, seeds 2 to 3, 7 (not every agent has all): all of them are kept" in captured


def test_a_control_joins_no_experiment_that_was_created_without_it(
    capsys: pytest.CaptureFixture[str], toy: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["bench", "--agents", "sampler", "--seeds", "2", "--evaluations", "3", "--out", "x"]
    assert run(*words) == 0
    monkeypatch.setattr(registry, "CONTROLS", ("global",))  # an update has come
    capsys.readouterr()
    words[words.index("2")] = "3"
    assert run(*words) == 0
    assert "created without global: --add-agents adds such a control" in capsys.readouterr().err
    made = store.load(Path("x"))
    assert [agent.label for agent in made.config.agents] == ["sampler"]
    assert [run.status().state for run in made.runs()] == ["done"] * 3
    words[-1] = "y"
    assert run(*words) == 0
    assert [agent.label for agent in store.load(Path("y")).config.agents] == ["global", "sampler"]


def test_seeds_are_added_until_it_is_decided(capsys: pytest.CaptureFixture[str], toy: dict[str, Any]) -> None:
    words = ["bench", "--agents", "sampler,global", "--evaluations", "2", "--out", "x", "--until-decided"]
    assert run(*words, "--max-seeds", "6") == 0
    told = capsys.readouterr().err
    made = store.load(Path("x"))
    assert made.config.looks == (5, 6)
    results = Results([made])
    first = results.runs[results.runs["seed"] < 5]
    (verdict,) = comparison.differences(first, "global", alpha=0.025)["verdict"]
    went_on = verdict not in sequential.DECIDED
    assert ("look at 5 seeds: not decided for global, sampler; they go on to 6 seeds" in told) == went_on
    assert made.config.seeds == (6 if went_on else 5)
    stamps = {path: path.stat().st_mtime_ns for path in Path("x").rglob("*.jsonl")}
    assert run(*words, "--max-seeds", "6") == 0  # and nothing is run again
    assert {path: path.stat().st_mtime_ns for path in Path("x").rglob("*.jsonl")} == stamps
    capsys.readouterr()
    assert run(*words, "--max-seeds", "8") == 2
    assert "looks is (5, 6), not (5, 8)" in capsys.readouterr().err
    text = (Path("x") / "tables" / "differences.md").read_text()
    assert "at looks fixed beforehand (5, 6 seeds). Each may err in 2.5 %" in text


def test_a_users_claims_are_registered_before_the_runs(capsys: pytest.CaptureFixture[str], toy: dict[str, Any]) -> None:
    entry = "- {id: mine, source: us, claim: One is better, test: {kind: difference, column: test_accuracy, "
    Path("my.yaml").write_text(f"{entry}agent: global, reference: sampler, expect: higher, relevant: 0.5}}}}\n")
    Path("late.yaml").write_text(Path("my.yaml").read_text().replace("0.5", "0.1"))
    assert (
        run(
            "bench",
            "--agents",
            "sampler,global",
            "--seeds",
            "1",
            "--evaluations",
            "1",
            "--out",
            "x",
            "--claims",
            "my.yaml",
        )
        == 0
    )
    for file, words in (("my.yaml", "were registered before the first run"), ("late.yaml", "were not registered")):
        assert run("report", "x", "--claims", file) == 0
        text = (Path("x") / "tables" / "claims.md").read_text()
        assert words in text
        assert "One is better" in text
    before = {path: path.read_bytes() for path in Path("x").rglob("*") if path.is_file()}
    assert run("report", "x", "--claims", "my.yaml", "--seeds", "1") == 0
    page = Path("x") / "report-seeds-1.html"
    assert {path for path in Path("x").rglob("*") if path.is_file()} == {*before, page}
    assert all(path.read_bytes() == content for path, content in before.items())
    assert run("report", "x", "--seeds", "7-9") == 2


def test_a_shard_alone_lacks_nothing(capsys: pytest.CaptureFixture[str], toy: dict[str, Any]) -> None:
    words = [
        "bench",
        "--agents",
        "sampler,global",
        "--seeds",
        "2",
        "--evaluations",
        "3",
        "--shard",
        "1/2",
        "--out",
        "x",
    ]
    for _ in range(2):
        assert run(*words) == 0
    out = capsys.readouterr().out
    assert "seeds 0 to 1 (shard 1/2, not every agent has all)" in " ".join(out.split())
    assert "unfinished" not in out
    assert run("show", "x") == 0
    assert "2 runs, 2 done" in capsys.readouterr().out
    assert run(*[part if part != "1/2" else "2/2" for part in words]) == 2
    assert "shard is 1/2, not 2/2" in capsys.readouterr().err
    assert run("bench", "--add-agents", "--agents", "slow", "--out", "x") == 2
    assert "'x' is shard 1/2: merge the shards before agents join" in capsys.readouterr().err


GRID = "preserve: [0.5, 0.3]\nseeds: 1\nevaluations: 3\nagents: [sampler, failing]"


def test_a_grid_runs_to_its_end_whatever_fails(
    capsys: pytest.CaptureFixture[str], toy: dict[str, Any], tmp_path: Path
) -> None:
    Path("grid.yaml").write_text(GRID)
    assert run("bench", "grid.yaml") == 1
    captured = capsys.readouterr()
    out = captured.out
    assert out.index("preserve 0.5") < out.index("(1 of 2)") < out.index("preserve 0.3") < out.index("(2 of 2)")
    assert out.count("reward split  ") == 2
    assert captured.err.count("failed: failing seed 0: ZeroDivisionError") == 2
    assert "(runs 4/4)" in captured.err
    assert len(list(Path("results/grid").glob("*/experiment.yaml"))) == 2
    assert run("bench", "grid.yaml", "--agents", "sampler", "--out", "other") == 0
    assert run("show", "other") == 0
    assert "3/3" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grid.yaml", "other", "results"]


def test_what_is_only_found_while_an_experiment_is_prepared_does_not_cost_the_others(
    capsys: pytest.CaptureFixture[str], toy: dict[str, Any]
) -> None:
    toy["prepare"] = toy_runs.refusing_little
    Path("grid.yaml").write_text(GRID.replace("[0.5, 0.3]", "[0.3, 0.5]"))
    assert run("bench", "grid.yaml", "--agents", "sampler") == 1
    assert "failed: a budget of 0.3 cannot be met" in capsys.readouterr().err
    assert len(list(Path("results/grid").glob("*/experiment.yaml"))) == 1
    assert run("bench", "grid.yaml", "--agents", "sampler", "--preserve", "0.3") == 2


def test_what_the_check_ahead_finds_leaves_nothing(
    capsys: pytest.CaptureFixture[str], toy: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "CHECK_AHEAD", toy_runs.refusing_all)
    Path("grid.yaml").write_text(GRID)
    assert run("bench", "grid.yaml") == 2
    assert capsys.readouterr().err == "prunebench: error: no such weights\n"
    assert [path.name for path in Path().iterdir()] == ["grid.yaml"]


@pytest.mark.parametrize("text", ["seeds: many", "evaluation: 3", "preserve: []", "model: 3", "seeds: [1"])
def test_a_wrong_file_is_answered_in_one_line(text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    Path("grid.yaml").write_text(f"agents: [sampler]\n{text}")
    for flags in ([], ["--dry-run"]):
        assert run("bench", "grid.yaml", *flags) == 2
        captured = capsys.readouterr()
        assert (captured.out, captured.err.count("\n")) == ("", 1)
        assert "grid.yaml" in captured.err
    assert [path.name for path in tmp_path.iterdir()] == ["grid.yaml"]


def test_a_policy_is_scored_with_an_experiments_settings(
    capsys: pytest.CaptureFixture[str], toy: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("grid.yaml").write_text(GRID)
    assert run("bench", "grid.yaml", "--preserve", "0.3", "--agents", "sampler", "--out", "x") == 0
    before = sorted(Path().rglob("*"))
    monkeypatch.setattr(scoring, "score", partial(scoring.score, score_one=toy_runs.score_policy))
    capsys.readouterr()
    policy = Path("policy.json")
    policy.write_text("[0.5, 0.5, 0.5, 0.5]")
    assert run("score", "x", "--policy", "policy.json") == 0
    assert "meets the budget no: 50.0 % of the macs kept, at most 30 % allowed" in capsys.readouterr().out
    policy.write_text("[0.5]")
    assert run("score", "x", "--policy", "policy.json") == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    policy.unlink()
    assert run("score", "--from", "x", "--agent", "sampler", "--seed", "0") == 0
    named, scored, *_ = capsys.readouterr().out.splitlines()
    best = incumbent(store.load(Path("x")).run("sampler", 0).lines())
    assert best is not None
    assert named.startswith(f"sampler seed 0, evaluation {best.index}: {100 * best.accuracy:.2f} % on the reward split")
    assert scored.split()[1] == f"{100 * best.accuracy:.2f}"
    assert sorted(Path().rglob("*")) == before


def test_the_command_starts_without_pandas_and_scipy() -> None:
    code = "import sys; from prunebench.harness import cli; sys.exit(bool({'pandas', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == 0


def test_the_command_does_not_import_torch() -> None:
    code = (
        "import sys; from prunebench.harness import api, cli; "
        "from prunebench.harness.report.tables import table_list; sys.exit('torch' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, env=os.environ).returncode == 0
