"""Weights and data under relative paths, met again from another folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import toy_runs
import yaml

from prunebench.harness import api
from prunebench.harness.display import Lines
from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments import ahead, gridfile, registry
from prunebench.harness.experiments.config import ExperimentConfig, to_yaml
from prunebench.harness.experiments.execution import Execution
from prunebench.harness.record import store
from prunebench.harness.running import bench as benches
from prunebench.harness.running import export as exporting
from prunebench.harness.running import finetune as finetuning
from prunebench.harness.running import plan as plans


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "begun"
    (home / "below").mkdir(parents=True)
    (home / "w.pt").touch()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(home)
    return home


def write(config: ExperimentConfig, origin: Path | None, weights: str = "w.pt") -> ExperimentConfig:
    config = dataclasses.replace(config, task=dataclasses.replace(config.task, weights=weights))
    Path("x").mkdir()
    Path("x/experiment.yaml").write_text(to_yaml(config, "made", origin))
    return config


def wanted(config: ExperimentConfig, weights: str | None, seeds: int = 2) -> ExperimentConfig:
    return dataclasses.replace(config, task=dataclasses.replace(config.task, weights=weights), seeds=seeds)


def test_it_is_found_from_anywhere(config: ExperimentConfig, begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write(config, begun)
    assert store.load(Path("x")).located() == config  # where it was begun nothing changes
    for folder, spelled in (("below", "../w.pt"), ("../elsewhere", "../begun/w.pt")):
        monkeypatch.chdir(begun / folder)
        experiment = store.load(begun / "x")
        experiment.check_paths()
        assert experiment.config == config
        assert experiment.located().task.weights == str(begun / "w.pt")
        for weights in ("w.pt", spelled, str(begun / "w.pt")):
            more = store.meet(begun / "x", wanted(config, weights, seeds=7))
            assert more is not None
            assert (more.config.task.weights, more.config.seeds, more.origin) == ("w.pt", 7, begun)
        for weights in ("../v.pt", None):
            with pytest.raises(ConfigError, match=r"weights is w\.pt, not"):
                store.meet(begun / "x", wanted(config, weights))
        settings = gridfile.read(begun / "x" / "experiment.yaml")
        assert settings["weights"] == str(begun / "w.pt")


def test_one_that_does_not_say_where_it_was_begun(
    config: ExperimentConfig, begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write(config, None)
    assert "working_folder" not in Path("x/experiment.yaml").read_text()
    store.load(Path("x")).check_paths()
    assert store.meet(Path("x"), config)
    assert store.meet(Path("x"), wanted(config, str(begun / "w.pt")))
    monkeypatch.chdir(begun / "below")
    experiment = store.load(Path("../x"))
    for work in (
        lambda: finetuning.finetune(experiment, jobs=1, display=Lines()),
        lambda: exporting.export(experiment, display=Lines()),
        lambda: api.score([0.5], "../x"),
    ):
        with pytest.raises(
            ConfigError, match=r"'\.\./x': its (--weights |weights=)'w\.pt' is relative .*below'"
        ) as error:
            work()
        assert "\n" not in str(error.value)


def test_one_that_was_moved_to_another_machine(
    config: ExperimentConfig, begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(config, Path("/not/on/this/machine"))
    store.load(Path("x")).check_paths()  # the weights came along
    monkeypatch.chdir(begun / "below")
    with pytest.raises(ConfigError, match=r"begun in, '/not/on/this/machine', and there is none in"):
        store.load(Path("../x")).check_paths()


def test_a_data_set_elsewhere(config: ExperimentConfig, begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (begun / "images").mkdir()
    task = dataclasses.replace(config.task, dataset="cifar10", data="images")
    Path("x").mkdir()
    Path("x/experiment.yaml").write_text(to_yaml(dataclasses.replace(config, task=task), "made", begun))
    monkeypatch.chdir(begun / "below")
    assert store.load(begun / "x").located().task.data == str(begun / "images")
    (begun / "images").rmdir()
    with pytest.raises(ConfigError, match="--data 'images'"):
        store.load(begun / "x").check_paths()


def test_a_home_folder_in_settings(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(begun))
    Path("grid.yaml").write_text("weights: ~/w.pt\nmodel: resnet20\nout: ~/out\nagents: [sampler]\n")
    monkeypatch.setattr(registry, "CONTROLS", ())
    made = plans.plan(Path("grid.yaml"), {})
    assert made.experiments[0].folder == begun / "out"
    assert made.experiments[0].config.task.weights == str(begun / "w.pt")
    flags = plans.plan(None, {"weights": "~/w.pt", "model": "resnet20", "out": "~/other", "agents": ("sampler",)})
    assert flags.experiments[0].config.task.weights == str(begun / "w.pt")
    assert flags.experiments[0].folder == begun / "other"


def test_where_it_was_begun_is_written_down(
    config: ExperimentConfig, begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "modules", lambda *agents: toy_runs.MODULES)

    def bench(weights: str | None, seeds: int) -> dict[str, object]:
        work = {"prepare": toy_runs.prepare, "run_one": toy_runs.run_one, "measure_latency": toy_runs.measure_latency}
        benches.bench(
            wanted(config, weights, seeds), begun / "x", execution=Execution(2), command="c", display=Lines(), **work
        )
        return yaml.safe_load((begun / "x" / "experiment.yaml").read_text())

    assert bench("w.pt", 1)["working_folder"] == str(begun)
    monkeypatch.chdir(begun / "below")
    content = bench("../w.pt", 2)
    assert content["working_folder"] == str(begun)
    assert content["experiment"]["task"]["weights"] == "w.pt"  # type: ignore[index]
