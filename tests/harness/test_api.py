"""The functions for Python, and the guide's own example."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pandas as pd
import pytest
import toy_runs
from matplotlib.figure import Figure
from PIL import Image

import prunebench
from prunebench.envs.environment.hits import unpacked
from prunebench.envs.networks import own
from prunebench.harness import api
from prunebench.harness.commands.bench import command as bench_command
from prunebench.harness.commands.prune import command as prune_command
from prunebench.harness.commands.score import command as score_command
from prunebench.harness.commands.train import command as train_command
from prunebench.harness.errors import USER_ERRORS
from prunebench.harness.experiments import ahead, gridfile
from prunebench.harness.experiments import config as configs
from prunebench.harness.running import bench as benches
from prunebench.harness.running import sessions
from prunebench.harness.settings import BenchSettings, BudgetSettings, PruneSettings, TrainingSettings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ahead, "modules", lambda *agents: toy_runs.MODULES)
    parts = {"prepare": toy_runs.prepare, "run_one": toy_runs.run_one, "measure_latency": toy_runs.measure_latency}
    monkeypatch.setattr(benches, "bench", partial(benches.bench, **parts))
    monkeypatch.setattr(sessions, "run", partial(sessions.run, check=toy_runs.check_ahead))


@pytest.mark.usefixtures("toy")
def test_an_experiment_and_a_file() -> None:
    found = api.bench(agents=["sampler"], evaluations=6, seeds=2, out="one", jobs=2)
    assert found.folder == Path("one")
    assert found.failed == {}
    assert list(found.table.index) == ["dense", "sampler"]
    assert list(found.runs["seed"]) == [0, 1]
    assert len(found.evaluations) == 2 * 6
    assert "sampler" in found.text("markdown")
    again = api.load_results("one")
    pd.testing.assert_frame_equal(again.table, found.table)
    Path("grid.yaml").write_text("preserve: [0.5, 0.4]\nagents: [sampler]\nevaluations: 3\nseeds: 2")
    several = api.bench("grid.yaml", seeds=1, out="two")
    assert [e.config.preserve for e in several.experiments] == [0.5, 0.4]
    assert list(several.table.index.names) == ["task", "agent"]
    assert several.evaluations["task"].nunique() == 2
    assert {e.folder for e in api.load_results("two").experiments} == {e.folder for e in several.experiments}
    with pytest.raises(USER_ERRORS, match=r"results of 2 experiments \("):
        api.export(several)


@pytest.mark.usefixtures("toy")
def test_lists_of_settings_are_an_experiment_each() -> None:
    found = api.bench(agents="sampler", evaluations=3, seeds=1, preserve=[0.5, 0.4])
    assert sorted(e.config.preserve for e in found.experiments) == [0.4, 0.5]
    assert {e.folder for e in found.experiments} == {configs.default_folder(e.config) for e in found.experiments}


@pytest.mark.usefixtures("toy")
def test_a_notebook_shows_table_verdicts_and_figures() -> None:
    found = api.bench(agents=["sampler", "noting"], evaluations=6, seeds=2, out="one")
    html = found._repr_html_()
    assert html.count("<tr>") == 1 + len(found.table)
    assert all(escape(verdict) in html for verdict in found.verdicts)
    figure: Any = found.figure("anytime_evaluations")
    assert isinstance(figure, Figure)
    assert figure._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(USER_ERRORS, match="did you mean 'final_accuracy'"):
        found.figure("final_accuracies")


@pytest.mark.usefixtures("toy")
def test_an_experiment_in_parts() -> None:
    for seeds in ("0-1", "2-2"):
        api.bench(agents=["sampler"], evaluations=6, seeds=seeds, out=seeds)
    merged = api.merge("0-1", api.load_results("2-2"), out="all")
    assert merged.experiment.config.seeds == 3
    assert merged.text() == api.load_results("0-1", "2-2").text()
    with pytest.raises(USER_ERRORS, match="agents is sampler, not global"):
        api.bench(agents=["global"], evaluations=6, seeds=1, out="all")
    added = api.bench(agents=["global"], seeds=1, out="all", add_agents=True)
    assert added.experiment.config.seeds == (("sampler", 3), ("global", 1))
    assert set(added.runs["status"]) == {"done"}


@pytest.mark.usefixtures("toy")
def test_errors_are_one_line() -> None:
    found = api.bench(agents=["sampler"], evaluations=6, seeds=1, out="one")
    untyped: Any = api
    for wrong, expected in {
        lambda: found.text("pdf"): "form 'pdf' is unknown",
        lambda: api.load_results("nowhere"): "holds no experiment",
        lambda: api.score([2.0], found): "expected a preserve ratio from 0 to 1",
        lambda: api.score([0.5], found, preserve=0.3): "leave out preserve",
        lambda: api.score([0.5], preserve=[0.3, 0.4]): "expected one experiment, not 2",
        lambda: api.bench("nowhere.yaml"): "nowhere.yaml",
        lambda: api.bench(agents=["sampler"], out="two", jobs=0): "jobs 0: expected a whole number",
        lambda: api.bench("grid.yaml", agents=["sampler"], out="one", add_agents=True): "in out=: leave out",
        lambda: untyped.bench(seed=3): "did you mean 'seeds'",
        lambda: untyped.bench(evaluations="many"): "evaluations 'many': expected a valid integer",
        lambda: api.bench(model=lambda num_classes: None): "expected a function at the top of a file",
        lambda: api.bench(agents=[type("Local", (), {"__qualname__": "f.<locals>.Local"})]): "expected a Class at",
    }.items():
        with pytest.raises(USER_ERRORS) as error:
            wrong()
        assert expected in str(error.value)
        assert "\n" not in str(error.value)


def test_keywords_are_the_commands_options() -> None:
    taken = {option.name for option in bench_command.params} - {"file", "dry_run", "notify"}
    assert set(get_type_hints(BenchSettings)) == taken
    assert set(get_type_hints(BudgetSettings)) == {option.name for option in score_command.params} - {
        *("folder", "policy", "origin", "agent", "seed", "clip"),
    }
    others = {"dataset": "data", "data": "folder"}  # in Python the data may be arrays
    named = set(inspect.signature(api.prune).parameters) - {"settings"} | set(get_type_hints(PruneSettings))
    assert named == {others.get(option.name, option.name) for option in prune_command.params}
    named = set(inspect.signature(api.train).parameters) - {"settings"} | set(get_type_hints(TrainingSettings))
    assert named == {others.get(option.name, option.name) for option in train_command.params}


def test_functions_and_classes_are_recorded_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "_HERE", {})
    assert prunebench.register_network("mine", toy_runs.nap) == "toy_runs:nap"
    asked = gridfile.keywords({"model": ["mine", "resnet20"], "agents": [toy_runs.Sampler], "out": Path("x")}, "bench:")
    assert [model for model, _ in asked["model"]] == ["toy_runs:nap", "resnet20"]
    assert [agent.name for agent in asked["agents"]] == ["toy_runs:Sampler"]
    assert asked["out"] == "x"
    for taken in ("mine", "vgg16", "two words"):
        with pytest.raises(USER_ERRORS, match=f"model '{taken}'"):
            prunebench.register_network(taken, toy_runs.crashing)


def write_images(folder: Path) -> None:
    """Ten classes of noise, two images each for training, three for the two other splits."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 2), ("val", 2), ("test", 1)):
        for label in range(10):
            (folder / split / str(label)).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / str(label) / f"{number}.png")


def test_the_guides_example_runs(tmp_path: Path, checkpoint: Callable[[str], str]) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "python.md").read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "example.py").write_text(code)
    write_images(tmp_path / "images")
    (tmp_path / "resnet20.pt").symlink_to(checkpoint("resnet20"))
    result = subprocess.run(
        [sys.executable, "example.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert "tpe" in result.stdout
    assert str(Path("results/mine/report.html")) in lines
    assert lines[-1].startswith("[8, 8, 8, 16, 16, 16, 32, 32, 32] ")
    mine = prunebench.load_results(tmp_path / "results" / "mine").experiment
    test = mine.run("tpe", 0).status().test
    assert test is not None
    assert test.hits is not None
    assert unpacked(test.hits, 10).mean() == test.accuracy
    dense = mine.manifest()["task"]["dense"]
    assert unpacked(dense["test_hits"], 10).mean() == dense["test_accuracy"]
    assert (mine.tables_folder / "images.md").exists()
