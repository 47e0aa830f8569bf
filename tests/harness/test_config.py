"""Settings: wrong ones, written ones, other ones."""

from __future__ import annotations

import dataclasses
import math
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import yaml

from prunebench.envs.tasks.task import TaskConfig
from prunebench.harness.errors import USER_ERRORS, ConfigError, RegistryError, StoreError
from prunebench.harness.experiments import registry
from prunebench.harness.experiments.agentspec import AgentSpec
from prunebench.harness.experiments.config import (
    ExperimentConfig,
    check,
    default_folder,
    differences,
    read_yaml,
    to_yaml,
)
from prunebench.harness.record import store


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preserve": math.nan}, "preserve nan: expected"),
        ({"preserve": math.inf}, "preserve inf: expected"),
        ({"preserve": 0.0}, "preserve 0: expected"),
        ({"preserve": 1.5}, "preserve 1.5: expected"),
        ({"preserve": -0.5}, "preserve -0.5: expected"),
        ({"lower_bound": 0.0}, "lower-bound 0: expected"),
        ({"lower_bound": math.nan}, "lower-bound nan: expected"),
        ({"seeds": -1}, "seeds -1: expected"),
        ({"seeds": 0}, "seeds 0: expected"),
        ({"seeds": "5-3"}, "seeds '5-3': expected how many, as 5, or which, as 5-9 or 0-2,7"),
        ({"seeds": {"sampler": 5, "samplr": 5}}, "seeds of 'samplr': .*did you mean 'sampler'"),
        ({"seeds": {}}, "'sampler' has none"),
        ({"seeds": (5, 6)}, r"seeds \(5, 6\): expected"),
        ({"shard": "0/3"}, "shard '0/3': expected"),
        ({"shard": "3"}, "shard '3': expected"),
        ({"shard": "3/3"}, "shard '3/3': none of the experiment's runs is in it"),
        ({"evaluations": 0}, "evaluations 0: expected"),
        ({"threads": 0}, "threads 0: expected"),
        ({"round_to": 0}, "round-to 0: expected"),
        ({"budget": "walls"}, "did you mean 'wall'"),
        ({"reward": "acuracy"}, "did you mean 'accuracy'"),
        ({"agents": ()}, "expected at least one"),
        ({"agents": ("sampler", "sampler")}, "'sampler' is named twice"),
        ({"agents": ("samplr",)}, "did you mean 'sampler'"),
        ({"task": TaskConfig(model="mobilenetv9")}, "did you mean 'mobilenetv2'"),
        ({"task": TaskConfig(weights="nowhere.pt")}, "nowhere.pt"),
    ],
)
def test_wrong_settings_are_named_in_one_line(config: ExperimentConfig, changes: dict[str, Any], message: str) -> None:
    check(config)
    with pytest.raises(USER_ERRORS, match=message) as error:
        check(dataclasses.replace(config, **changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("agents", ["bo", {"bo": {"initial": 5}}])
def test_agents_are_a_list(agents: Any) -> None:
    with pytest.raises(ConfigError, match="expected a list of names"):
        ExperimentConfig(agents=agents)


def test_a_configuration_survives_the_file(tmp_path: Path) -> None:
    config = ExperimentConfig(
        task=TaskConfig(mean=(0.1, 0.2, 1e-5), classes=("a", "no", "1"), data="d", image_size=32),
        preserve=0.3,
        agents=("sampler", 'slow:factor=0.5,word="a, b"', AgentSpec.make("a.b:C", {"list": [1, 2]})),
    )
    path = tmp_path / "experiment.yaml"
    path.write_text(to_yaml(config, "prunebench bench --mean '0.1,0.2'"))
    assert read_yaml(path) == (config, "prunebench bench --mean '0.1,0.2'")
    agents = yaml.safe_load(path.read_text())["experiment"]["agents"]
    assert agents == ["sampler", {"slow": {"factor": 0.5, "word": "a, b"}}, {"a.b:C": {"list": [1, 2]}}]


@pytest.mark.parametrize("text", ["", "- 1", "schema: 1", "schema: [", "schema: 99\nexperiment: {}"])
def test_a_damaged_configuration_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "experiment.yaml").write_text(text)
    with pytest.raises(StoreError, match=r"experiment\.yaml"):
        store.load(tmp_path)


def test_every_setting_but_the_seeds_makes_a_difference(config: ExperimentConfig) -> None:
    assert differences(config, dataclasses.replace(config, seeds=9)) == []
    assert differences(config, dataclasses.replace(config, preserve=0.3)) == ["preserve is 0.5, not 0.3"]
    task = dataclasses.replace(config.task, split_seed=4)
    assert differences(config, dataclasses.replace(config, task=task)) == ["split-seed is 0, not 4"]
    for field in dataclasses.fields(config):
        if field.name not in ("seeds", "task", "limit"):
            old = getattr(config, field.name)
            other = {"agents": ("other",), "looks": (5,)}
            new = other.get(field.name) or (f"{old}0" if isinstance(old, str) else old + 1)
            assert len(differences(config, dataclasses.replace(config, **{field.name: new}))) == 1, field.name
    for field in dataclasses.fields(TaskConfig):
        task = dataclasses.replace(config.task, **{field.name: "other"})
        assert len(differences(config, dataclasses.replace(config, task=task))) == 1, field.name


def test_other_budgets_have_other_folders(config: ExperimentConfig) -> None:
    folders = {
        default_folder(config),
        default_folder(dataclasses.replace(config, preserve=0.3)),
        default_folder(dataclasses.replace(config, budget="project")),
        default_folder(dataclasses.replace(config, evaluations=7)),
        default_folder(dataclasses.replace(config, task=TaskConfig(model="resnet20"))),
    }
    assert len(folders) == 5
    assert len({default_folder(config), default_folder(dataclasses.replace(config, agents=("bo",)))}) == 2
    assert default_folder(config) == default_folder(dataclasses.replace(config, seeds=9))
    assert all(folder.parent == Path("results") for folder in folders)


def test_meeting_an_existing_folder(config: ExperimentConfig, tmp_path: Path) -> None:
    assert store.meet(tmp_path / "new", config) is None
    assert store.meet(tmp_path, config) is None
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is no experiment"):
        store.meet(tmp_path, config)
    with pytest.raises(ConfigError, match="is no experiment"):
        store.meet(tmp_path / "notes.txt", config)
    (tmp_path / "experiment.yaml").write_text(to_yaml(config, "made"))
    for seeds, expected in ((1, 2), (2, 2), (5, 5)):  # more may be added, none is taken away
        experiment = store.meet(tmp_path, dataclasses.replace(config, seeds=seeds))
        assert experiment is not None
        assert experiment.config.seeds == expected
    with pytest.raises(ConfigError, match="evaluations is 6, not 7"):
        store.meet(tmp_path, dataclasses.replace(config, evaluations=7))
    more = dataclasses.replace(config, agents=("noting:factor=[1,2]",), seeds="1-3")
    with pytest.raises(ConfigError, match=r"not noting:.*agents with --add-agents"):
        store.meet(tmp_path, more)
    experiment = store.meet(tmp_path, more, adding=True)
    assert experiment is not None
    assert experiment.config.seeds == (("sampler", 2), ("noting:factor=[1,2]", "1-3"))
    (tmp_path / "experiment.yaml").write_text(to_yaml(experiment.config, "made"))
    assert store.load(tmp_path).config == experiment.config
    (tmp_path / "experiment.yaml").write_text(to_yaml(dataclasses.replace(config, shard="1/2"), "made"))
    with pytest.raises(ConfigError, match="is shard 1/2: merge the shards before agents join"):
        store.meet(tmp_path, dataclasses.replace(more, shard="1/2"), adding=True)


class TestRegistry:
    @pytest.fixture(autouse=True)
    def real(self, monkeypatch: pytest.MonkeyPatch, toy_agents: None) -> None:
        monkeypatch.undo()
        registry.registered.cache_clear()
        yield
        monkeypatch.undo()
        registry.registered.cache_clear()

    def offer(self, monkeypatch: pytest.MonkeyPatch, *pairs: tuple[str, str]) -> None:
        entries = [EntryPoint(name, value, registry.GROUP) for name, value in pairs]
        monkeypatch.setattr(registry, "entry_points", lambda group: entries)

    def test_our_own_agents_are_there(self) -> None:
        assert {"uniform", "random", "ddpg", "bo", "clustered_bo"} <= set(registry.names())
        agents = (AgentSpec("random"), AgentSpec("uniform"), AgentSpec("my_pkg.module:MyAgent"))
        assert registry.own_modules(agents) == ["prunebench.agents.random_search", "prunebench.agents.uniform"]
        assert registry.load("uniform")(seed=3).seed == 3

    def test_one_name_twice_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offer(monkeypatch, ("a", "one:A"), ("a", "two:A"))
        with pytest.raises(RegistryError, match=r"'a' is registered by both .*one:A.* and .*two:A"):
            registry.names()

    def test_a_name_that_is_no_folder_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offer(monkeypatch, ("../a", "one:A"))
        with pytest.raises(RegistryError, match="expected letters"):
            registry.names()

    @pytest.mark.parametrize("value", ["no_such_module_at_all:A", "math:NoSuchThing"])
    def test_an_agent_that_cannot_be_imported_is_named(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        self.offer(monkeypatch, ("a", value))
        with pytest.raises(RegistryError, match=r"agent 'a' .* cannot be imported"):
            registry.load("a")
