"""The functions for Python, and the guide's own example."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import toy_runs
from PIL import Image

from prunebench.envs.environment.hits import unpacked
from prunebench.harness import api
from prunebench.harness.errors import USER_ERRORS
from prunebench.harness.experiments import ahead
from prunebench.harness.experiments.config import ExperimentConfig
from prunebench.harness.running import bench as benches
from prunebench.harness.running import sessions

ROOT = Path(__file__).parents[2]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ahead, "modules", lambda *agents: toy_runs.MODULES)
    parts = {"prepare": toy_runs.prepare, "run_one": toy_runs.run_one, "measure_latency": toy_runs.measure_latency}
    monkeypatch.setattr(benches, "bench", partial(benches.bench, **parts))
    monkeypatch.setattr(sessions, "run", partial(sessions.run, check=toy_runs.check_ahead))


@pytest.mark.usefixtures("toy")
def test_an_experiment_and_a_file(config: ExperimentConfig) -> None:
    experiment = api.bench(config, out="one", jobs=2)
    assert experiment.folder == Path("one")
    assert "sampler" in api.table(experiment, "markdown")
    assert api.load("one").config == config
    Path("grid.yaml").write_text("preserve: [0.5, 0.4]\nagents: [sampler]\nevaluations: 3\nseeds: 1")
    several = api.bench("grid.yaml", out="two")
    assert [e.config.preserve for e in several] == [0.5, 0.4]
    assert {e.folder for e in api.find(["two"])} == {e.folder for e in several}
    assert "50 %" in api.table(several)


@pytest.mark.usefixtures("toy")
def test_an_experiment_in_parts(config: ExperimentConfig) -> None:
    one, other = (api.bench(replace(config, seeds=seeds), out=seeds) for seeds in ("0-1", "2-2"))
    merged = api.merge([one, other], "all")
    assert merged.config == replace(config, seeds=3)
    assert api.table(merged) == api.table([one, other])
    more = replace(config, agents=("global",), seeds=1)
    with pytest.raises(USER_ERRORS, match="agents is sampler, not global"):
        api.bench(more, out="all")
    added = api.bench(more, out="all", add_agents=True)
    assert added.config.seeds == (("sampler", 3), ("global", 1))
    assert {run.status().state for run in added.runs()} == {"done"}


@pytest.mark.usefixtures("toy")
def test_errors_are_one_line(config: ExperimentConfig) -> None:
    experiment = api.bench(config, out="one")
    for wrong in (
        lambda: api.table(experiment, "pdf"),
        lambda: api.load("nowhere"),
        lambda: api.score([2.0], config),
        lambda: api.bench("nowhere.yaml"),
        lambda: api.bench(config, out="two", jobs=0),
        lambda: api.bench("grid.yaml", out="one", add_agents=True),
    ):
        with pytest.raises(USER_ERRORS) as error:
            wrong()
        assert "\n" not in str(error.value)


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
    assert "random seed 0 done 5" in lines
    assert lines[-1].startswith("[8, 8, 8, 16, 16, 16, 32, 32, 32] ")
    mine = api.load(tmp_path / "results" / "mine")
    test = mine.run("random", 0).status().test
    assert test is not None
    assert test.hits is not None
    assert unpacked(test.hits, 10).mean() == test.accuracy
    dense = mine.manifest()["task"]["dense"]
    assert unpacked(dense["test_hits"], 10).mean() == dense["test_accuracy"]
    assert (mine.tables_folder / "images.md").exists()
