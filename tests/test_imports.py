"""Who may import whom: envs nobody, agents the NumPy part of envs, harness the agents only through the registry."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("agents", "envs", "harness")
ALLOWED = {
    "envs": ("envs",),
    "agents": ("agents", "envs.cost", "envs.budget"),
    "harness": ("harness", "envs"),
}


def imported(source: str) -> Iterator[str]:
    """Every module that a source imports, also inside functions; ``from a import b`` counts as ``a.b``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the direction"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def forbidden(package: str, source: str) -> list[str]:
    """The imports of our packages in ``source`` that ``package`` may not make."""
    ours = [name for name in imported(source) if name.split(".")[0] in OURS]
    return [name for name in ours if not any(f"{name}.".startswith(f"{allowed}.") for allowed in ALLOWED[package])]


@pytest.mark.parametrize("package", OURS)
def test_the_direction_of_imports(package: str) -> None:
    sources = sorted((ROOT / package).rglob("*.py"))
    assert sources
    wrong = {str(path.relative_to(ROOT)): forbidden(package, path.read_text()) for path in sources}
    assert {path: names for path, names in wrong.items() if names} == {}


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("envs", "import agents.base"),
        ("envs", "def f():\n    from harness import store"),
        ("agents", "from envs import evaluator"),
        ("agents", "from envs.pruning_env import Score"),
        ("agents", "import envs.costly"),
        ("harness", "from agents import bo"),
        ("harness", "import agents"),
    ],
)
def test_the_test_can_fail(package: str, source: str) -> None:
    assert forbidden(package, source)


def test_the_numpy_part_of_envs_is_numpy_only() -> None:
    for name in ("cost", "budget"):
        roots = {module.split(".")[0] for module in imported((ROOT / "envs" / f"{name}.py").read_text())}
        assert roots <= {"__future__", "collections", "dataclasses", "typing", "numpy", "envs"}
