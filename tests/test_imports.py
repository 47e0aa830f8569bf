"""The rooms: who may import whom, how many files a folder has, how long the way from import to import is."""

from __future__ import annotations

import ast
import re
import sys

import pytest
import rooms


@pytest.mark.parametrize("package", rooms.CHAINS)
def test_the_direction_of_imports(package: str) -> None:
    sources = {name: path for name, path in rooms.modules().items() if name.partition(".")[0] == package}
    wrong = {name: rooms.forbidden(name, path.read_text()) for name, path in sources.items()}
    assert {name: names for name, names in wrong.items() if names} == {}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("envs.errors", "import prunebench.agents.base"),
        ("envs.cache", "def f():\n    from prunebench.harness.record import store"),
        ("envs.data.digits", "from prunebench.envs.networks import models"),
        ("envs.data.digits", "from prunebench.envs.environment.cost import CostModel"),
        ("envs.pruning.small", "def f():\n    from prunebench.envs.evaluation.evaluator import Evaluator"),
        ("envs.cache", "from prunebench.envs.tasks.task import TaskConfig"),
        ("agents.bo", "from prunebench.envs.evaluation import evaluator"),
        ("agents.bo", "from prunebench.envs.environment.channel_pruning import Score"),
        ("agents.parts.moves", "from prunebench.agents.base import Agent"),
        ("harness.api", "from prunebench.agents import bo"),
        ("harness.record.store", "from prunebench.harness.running.bench import bench"),
        ("harness.processes.local", "from prunebench.harness.experiments.config import ExperimentConfig"),
        ("harness.analysis.frames", "from prunebench.harness.inside.run import run_one"),
        ("harness.running.bench", "from prunebench.harness.perf import runs"),
        ("harness.checks.contract", "from prunebench.envs.evaluation import evaluator"),
        ("harness.checks.contract", "from prunebench.harness.record import store"),
        ("harness.perf.runs", "from prunebench.harness.running.bench import bench"),
    ],
)
def test_the_test_can_fail(module: str, source: str) -> None:
    assert rooms.forbidden(module, source)


def test_the_old_import_names_are_refused() -> None:
    with pytest.raises(AssertionError, match=r"the import name is prunebench\.envs"):
        rooms.forbidden("harness.api", "from envs.environment.cost import CostModel")


def test_folders_and_chains() -> None:
    print(rooms.summary())
    assert rooms.circles() == []
    many = {folder: count for folder, count in rooms.files_per_folder().items() if count > rooms.MOST_FILES}
    assert set(many) <= set(rooms.CATALOGUES)
    assert len(rooms.longest_chain("harness")) <= rooms.LONGEST_CHAIN


ONE_MATTER = {
    *("bench", "cache", "errors", "export", "files", "finetune", "latency", "listing", "score", "train", "verify"),
}
"""Names of several modules: layers of one matter. ``costs`` of two meanings, say, would be none."""


def test_names_mean_one_thing_and_shadow_nothing() -> None:
    own = [path.stem for path in rooms.modules().values() if path.name != "__init__.py"]
    assert {name for name in own if own.count(name) > 1} == ONE_MATTER
    assert not {name for name in own if name in sys.stdlib_module_names}
    assert not [name for name in own if name.startswith("test_") or name.endswith("_test") or "tests" in name]


def test_every_folder_says_in_one_sentence_what_lives_there() -> None:
    for name, path in rooms.modules().items():
        if path.name == "__init__.py":
            said = ast.get_docstring(ast.parse(path.read_text()))
            assert said, name
            assert re.fullmatch(r"[^\n]+\.", said), name


def test_the_numpy_part_of_envs_is_numpy_only() -> None:
    for name in ("cost", "budget"):
        tree = ast.parse(rooms.modules()[f"envs.environment.{name}"].read_text())
        roots = {
            node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module
        }
        roots |= {a.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
        known = {"__future__", "collections", "dataclasses", "functools", "math", "typing"}
        assert roots <= known | {"numpy", "prunebench"}


def test_the_environment_needs_numpy_and_gymnasium_only() -> None:
    for name, path in rooms.modules().items():
        if name.startswith("envs.environment."):
            roots = set(re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(), re.MULTILINE))
            assert not roots & {"torch", "torchvision", "pandas", "sklearn"}, name
