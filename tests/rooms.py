"""Who may import whom, written down once, and what the source does. ``python tests/rooms.py`` prints a summary."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "prunebench"

# From top to bottom: a room imports from those below it, never from one above or beside it. A name is a folder or a
# module; `*` stands for the modules of the package itself.
ENVS = ("tasks", "evaluation", "pruning weights", "networks", "data environment", "*")
AGENTS = ("*", "parts")
HARNESS = (
    *(
        "cli",
        "commands api",
        "checks perf lab prune following",
        "running",
        "report",
        "analysis inside",
        "record dense",
        "experiments",
    ),
    *("processes", "*"),
)
CHAINS = {"envs": ENVS, "agents": AGENTS, "harness": HARNESS}

# What a package, or one of its rooms, may use of the other packages.
ACROSS = {
    "envs": (),
    "agents": ("envs.environment.cost", "envs.environment.budget"),
    "harness": ("envs",),
    "harness.checks": ("envs.environment",),
    "harness.perf": ("envs", "agents"),  # which it measures
}
# Rooms that may use less of their own package than what is below them.
NARROW = {"harness.checks": (), "harness.perf": ("analysis inside", "record", "experiments", "processes", "*")}

MOST_FILES = 12
LONGEST_CHAIN = 10  # modules, in harness
CATALOGUES = ("agents", "envs.networks", "harness.commands", "harness.report.figures", "harness.report.tables")
"""Folders that hold a file for each thing of a kind, which grow with what there is: they may have more files."""


@cache
def modules() -> dict[str, Path]:
    """Every module of the three packages by its name without ``prunebench.``; a package by its folder's name."""
    found = {}
    for package in CHAINS:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(source: str, known: Mapping[str, object], types: bool = True) -> Iterator[str]:
    """Our modules that a source imports, inside functions too.

    Args:
        source: text of a module.
        known: tells modules from other names.
        types: whether those count that are imported for types alone.
    """
    for node in _nodes(ast.parse(source), types):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the direction"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            root, _, rest = name.partition(".")
            assert root not in CHAINS, f"{name}: the import name is {PACKAGE}.{name}"
            if root == PACKAGE and rest:
                yield rest if rest in known else rest.rpartition(".")[0]


def _nodes(tree: ast.AST, types: bool) -> Iterator[ast.AST]:
    """A tree's nodes, without those below ``if TYPE_CHECKING`` unless ``types``."""
    for node in ast.iter_child_nodes(tree):
        if types or not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from _nodes(node, types)


def forbidden(module: str, source: str) -> list[str]:
    """The imports of ours in ``source`` that ``module`` may not make."""
    return [name for name in imported(source, modules()) if name and not _allowed(module, name)]


def _allowed(module: str, name: str) -> bool:
    package, other = module.partition(".")[0], name.partition(".")[0]
    room = _room(module)
    if package != other:
        return any(_below(name, allowed) for allowed in ACROSS.get(f"{package}.{room}", ACROSS[package]))
    if _room(name) == room:
        return True
    narrow = NARROW.get(f"{package}.{room}")
    if narrow is not None:
        return _room(name) in " ".join(narrow).split()
    return _level(module) < _level(name)


def _below(name: str, allowed: str) -> bool:
    return f"{name}.".startswith(f"{allowed}.")


def _room(module: str) -> str:
    """The folder that a module lives in, the module itself where the chain names it, or ``*``."""
    package, _, rest = module.partition(".")
    first = rest.partition(".")[0]
    named = " ".join(CHAINS[package]).split()
    is_folder = (ROOT / package / first).is_dir()
    return first if first and (is_folder or first in named) else "*"


def _level(module: str) -> int:
    """0 is the top of the package's chain."""
    chain = CHAINS[module.partition(".")[0]]
    return next((n for n, level in enumerate(chain) if _room(module) in level.split()), -1)


@cache
def graph() -> dict[str, frozenset[str]]:
    """What every module imports of its own package when it runs."""
    known = modules()
    return {
        name: frozenset(
            other
            for other in imported(path.read_text(), known, types=False)
            if other != name and other.partition(".")[0] == name.partition(".")[0] and known[other].stem != "__init__"
        )
        for name, path in known.items()
    }


def circles() -> list[list[str]]:
    """Modules that import each other in a circle."""
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            found.append([*path[path.index(name) :], name])
        elif name not in done:
            for other in sorted(graph()[name]):
                visit(other, [*path, name])
            done.add(name)

    for name in graph():
        visit(name, [])
    return found


def longest_chain(package: str) -> list[str]:
    """The longest way from import to import within a package; only where there are no circles."""

    @cache
    def below(name: str) -> tuple[str, ...]:
        return (name, *max((below(other) for other in graph()[name]), key=len, default=()))

    return list(max((below(name) for name in graph() if name.partition(".")[0] == package), key=len))


def files_per_folder() -> dict[str, int]:
    """Python files in each folder, ``__init__.py`` included."""
    counts: dict[str, int] = {}
    for path in modules().values():
        folder = ".".join(path.parent.relative_to(ROOT).parts)
        counts[folder] = counts.get(folder, 0) + 1
    return counts


def summary() -> str:
    """Files per folder, circles, and the longest chains."""
    lines = [f"{folder:24} {count:3} files" for folder, count in files_per_folder().items()]
    if found := circles():
        return "\n".join([*lines, *("circle: " + " > ".join(circle) for circle in found)])
    lines.append("no circles")
    chains = {package: longest_chain(package) for package in CHAINS}
    lines += [f"longest chain in {package}: {len(chain)} ({' > '.join(chain)})" for package, chain in chains.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(summary())
