"""Files of settings: what they expand to, what is refused, and where experiments are found."""

from __future__ import annotations

import dataclasses
import itertools
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from prunebench.envs.tasks.task import TaskConfig
from prunebench.harness.errors import USER_ERRORS, ConfigError
from prunebench.harness.experiments import grid, gridfile, registry
from prunebench.harness.experiments.config import ExperimentConfig, default_folder, read_yaml, to_yaml
from prunebench.harness.record.folders import find
from prunebench.harness.record.store import Experiment
from prunebench.harness.running import plan as plans

RESULTS = Path(__file__).parents[2] / "results"
STUDIES = [path for name in ("reference", "study2") for path in sorted((RESULTS / name).glob("*.yaml"))]
MODELS = ["mobilenetv2", "resnet20", "resnet56", "vgg16"]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def plan(content: Any, /, name: str = "grid.yaml", **flags: Any) -> list[Experiment]:
    path = Path(name)
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return plans.plan(path, flags).experiments


@pytest.mark.parametrize("path", [path for path in STUDIES if path.stem != "claims"], ids=lambda path: path.stem)
def test_the_settings_of_the_studies_name_options_that_agents_have(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # of the toys
    for agent in gridfile.read(path)["agents"]:
        registry.check(agent)


def test_a_file_is_the_product_of_its_lists() -> None:
    Path("resnet56.pt").touch()
    text = """
        model: [mobilenetv2, resnet56: {weights: resnet56.pt, reward-images: 30}]
        preserve: [0.5, 3e-1]
        split-seed: [0, 1]
        reward_images: 60
        agents: [sampler, noting: {factor: 1e-3}]
        seeds: 2
    """
    experiments = plan(text)
    configs = [experiment.config for experiment in experiments]
    assert [(c.task.model, c.preserve, c.task.split_seed) for c in configs] == list(
        itertools.product(["mobilenetv2", "resnet56"], [0.5, 0.3], [0, 1])
    )
    assert [(c.task.weights, c.task.reward_images) for c in configs] == [(None, 60)] * 4 + [("resnet56.pt", 30)] * 4
    assert {agent.label for c in configs for agent in c.agents} == {"sampler", "noting:factor=0.001"}
    assert {c.seeds for c in configs} == {2}
    assert {experiment.folder.parent for experiment in experiments} == {Path("results/grid")}
    assert [e.folder.name for e in experiments] == [default_folder(c).name for c in configs]
    assert [p.name for p in Path().iterdir() if p.is_dir()] == []


axes = st.fixed_dictionaries(
    {
        "model": st.lists(st.sampled_from(MODELS), min_size=1, unique=True),
        "preserve": st.lists(st.floats(0.1, 1), min_size=1, max_size=3, unique=True),
        "split_seed": st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
    }
)


@settings(max_examples=40, deadline=None)
@given(
    axes=axes,
    flags=st.fixed_dictionaries(
        {},
        optional={
            "model": st.sampled_from(MODELS),
            "preserve": st.floats(0.1, 1),
            "split_seed": st.integers(0, 9),
            "seeds": st.integers(1, 5),
        },
    ),
)
def test_the_grid_is_the_product_and_flags_take_the_place_of_the_file(axes: dict[str, Any], flags: Any) -> None:
    experiments = plan(axes | {"agents": ["sampler"], "seeds": 7}, **flags)
    wanted = axes | {name: [value] for name, value in flags.items() if name in axes}
    found = [(e.config.task.model, e.config.preserve, e.config.task.split_seed) for e in experiments]
    assert found == list(itertools.product(*(wanted[name] for name in grid.AXES)))
    assert {e.config.seeds for e in experiments} == {flags.get("seeds", 7)}
    assert len({e.folder for e in experiments}) == len(experiments)


def test_a_flag_also_replaces_a_models_own_setting_and_a_named_model_keeps_its_own() -> None:
    text = "model: [resnet20: {scope: all, reward_images: 30}, resnet56]\nagents: [sampler]"
    (alone,) = plan(text, model="resnet20")
    assert (alone.config.task.scope, alone.config.task.reward_images) == ("all", 30)
    assert [e.config.task.reward_images for e in plan(text, reward_images=40)] == [40, 40]
    (other,) = plan(text, model="vgg16")
    assert other.config.task == TaskConfig(model="vgg16")


def test_controls_join_those_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "CONTROLS", ("overspender",))
    assert [a.name for a in plan("agents: [sampler]")[0].config.agents] == ["overspender", "sampler"]
    assert [a.label for a in plan("agents: sampler slow")[0].config.agents] == ["overspender", "sampler", "slow"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("agent: [sampler]", "key 'agent' is unknown: .*did you mean 'agents'"),
        ("model: [resnet20: {wieghts: a.pt}]", "model 'resnet20': key 'wieghts' .*did you mean 'weights'"),
        ("model: [resnet20: {model: b}]", "key 'model' is unknown"),
        ("model: [resnet20: {seeds: 3}]", "key 'seeds' is unknown"),
        ("model: 3", "model 3: expected a network's name"),
        ("model: [resnet20: {}, 4]", "model 4: expected"),
        ("model: {resnet20: {}, vgg16: {}}", "expected a network's name"),
        ("model: []", "model .*at least one"),
        ("model: mobilenetv9", "did you mean 'mobilenetv2'"),
        ("preserve: []", "preserve .*at least one"),
        ("preserve: half", "preserve 'half': expected a valid number"),
        ("preserve: [0.5, true]", "preserve True: expected a valid number"),
        ("preserve: [0.5, 1.5]", "preserve 1.5: expected"),
        ("preserve: .nan", "preserve nan: expected"),
        ("preserve:", "preserve None: expected"),
        ("seeds: many", "grid.yaml: seeds 'many': expected how many, as 5, or which"),
        ("seeds: true", "seeds True: expected"),
        ("seeds: 2.5", "seeds 2.5: expected"),
        ("seeds: [1, 2]", r"seeds \[1, 2\]: expected"),
        ("seeds: 2020-01-01", "seeds .*expected"),
        ("seeds: {sampler: 5-3}", "seeds '5-3': expected"),
        ("seeds: {samplr: 3}", "seeds of 'samplr': there is no such agent; did you mean 'sampler'"),
        ("evaluations: [1, 2]", "evaluations .*only model, preserve, split_seed may be lists"),
        ("shard: 4/3", "shard '4/3': expected which part of how many"),
        ("seeds: 0", "seeds 0: expected"),
        ("jobs: 0", "jobs 0: expected"),
        ("split_seed: [0, -1]", "split-seed -1: expected"),
        ("split_seed: 0\nsplit-seed: 1", "split_seed is given twice"),
        ("seeds: 1\nseeds: 2", "line 2: 'seeds' is given twice"),
        ("mean: [0.1, 0.2]", "mean"),
        ("mean: [a, b, c]", "expected a valid number"),
        ("agents: 3", "agents 3: expected a list"),
        ("agents: [3]", "agent 3: expected"),
        ("agents: []", "agents: expected at least one"),
        ("agents: [nobody]", "agent 'nobody' is unknown"),
        ("tf32: 1", "tf32 1: expected"),
        ("dataset: digit", "did you mean 'digits'"),
        ("preserve: [0.5, 0.50]", "the grid has .* twice"),
        ("model: [resnet20, resnet20]", "the grid has resnet20 .* twice"),
        ("model: [resnet20: {split_seed: 1}]\nsplit_seed: [0, 1]", "twice"),
        ("- model", "expected settings"),
        ("", "expected settings"),
        ("model: [", "line 2: expected"),
        ("\tmodel: x", "line 1"),
        ("schema: 99\nexperiment: {}", "written in version 99"),
        ("schema: 1\nexperiment: {}", "is not an experiment's configuration"),
    ],
)
def test_wrong_files_are_refused_in_one_line(text: str, words: str) -> None:
    if "agents" not in text and text[:1].isalpha() and not text.startswith("schema"):
        text += "\nagents: [sampler]"
    with pytest.raises(USER_ERRORS, match=words) as error:
        plan(text)
    assert "\n" not in str(error.value)
    assert [path.name for path in Path().iterdir()] == ["grid.yaml"]


def test_a_missing_file_names_the_nearest() -> None:
    Path("grid.yaml").write_text("seeds: 1")
    with pytest.raises(ConfigError, match=r"'gird.yaml': no such file; did you mean 'grid.yaml'\?"):
        plans.plan(Path("gird.yaml"), {})


def test_an_experiments_own_file_is_the_same_experiment(config: ExperimentConfig) -> None:
    task = TaskConfig(model="resnet20", split_seed=3, scope="all")
    config = dataclasses.replace(config, task=task, agents=("sampler", {"noting": {"factor": 2}}), preserve=0.25)
    Path("experiment.yaml").write_text(to_yaml(config, "as typed"))
    (again,) = plans.plan(Path("experiment.yaml"), {}).experiments
    assert again.config == config
    assert again.folder == default_folder(config)
    (more,) = plans.plan(Path("experiment.yaml"), {"seeds": 9, "out": "elsewhere"}).experiments
    assert (more.config.seeds, more.folder) == (9, Path("elsewhere"))


def test_folders_of_several_experiments() -> None:
    text = "preserve: [0.5, 0.3]\nagents: [sampler]"
    assert {e.folder.parent for e in plan(text, out="mine")} == {Path("mine")}
    assert {e.folder.parent for e in plan(f"{text}\nout: ours\njobs: 2")} == {Path("ours")}
    assert [e.folder for e in plan(text, preserve=0.5, out="one")] == [Path("one")]
    write(Path("taken"), ExperimentConfig(agents=("sampler",)))
    with pytest.raises(ConfigError, match="a grid of 2 experiments needs a folder of its own"):
        plan(text, out="taken")


def test_a_folder_that_holds_something_else_is_found_before_anything_runs() -> None:
    text = "preserve: [0.5, 0.3]\nagents: [sampler]"
    last = plan(text)[-1]
    write(last.folder, dataclasses.replace(last.config, reward="accuracy-guaranteed"))
    with pytest.raises(ConfigError, match=r"other settings .*reward"):
        plan(text)


def test_numbers_that_look_alike_have_folders_of_their_own(config: ExperimentConfig) -> None:
    close = [dataclasses.replace(config, preserve=value) for value in (0.3333333, 0.33333331)]
    assert len({default_folder(one) for one in close}) == 2


def write(folder: Path, config: ExperimentConfig, when: int | None = None) -> Experiment:
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text(to_yaml(config, ""))
    assert read_yaml(folder / "experiment.yaml")
    if when is not None:
        (folder / "manifest.json").touch()
        os.utime(folder / "manifest.json", (when, when))
    return Experiment(folder, config)


def test_experiments_are_found_at_any_depth(config: ExperimentConfig) -> None:
    with pytest.raises(ConfigError, match="no experiment under 'results'"):
        find([])
    one, two = write(Path("results/g/b"), config, 5), write(Path("results/g/a"), config, 9)
    three = write(Path("results/c"), config)
    assert [e.folder for e in find(["results"])] == [three.folder, two.folder, one.folder]
    assert [e.folder for e in find([one.folder, "results/g"])] == [two.folder, one.folder]
    assert [e.folder for e in find()] == [two.folder]
    with pytest.raises(ConfigError, match=r"'results/d' holds no experiment .*did you mean 'results/c'"):
        find(["results/d"])
    Path("empty").mkdir()
    with pytest.raises(ConfigError, match="holds no experiment"):
        find(["results", "empty"])
