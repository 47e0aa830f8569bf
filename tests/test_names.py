"""What is named in text, because whoever names it must not import it, is there; so are the tests that a page names."""

from __future__ import annotations

import ast
import inspect
import re
from pkgutil import resolve_name

import pytest
import rooms

FIDELITY = rooms.ROOT / "docs" / "agents" / "fidelity.md"
TEST = re.compile(r"`(test_\w+)::(test_\w+)`")
NAME = re.compile(r"prunebench(?:\.\w+)+:\w+")


def named() -> dict[str, str]:
    """Every such name in our sources, and the module that has it."""
    found = {}
    for module, path in rooms.modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value):
                found[node.value] = module
    return found


@pytest.mark.parametrize("name", named())
def test_what_is_named_is_there(name: str) -> None:
    assert callable(resolve_name(name))


def test_what_is_sent_to_a_process_takes_a_report_first() -> None:
    sent = [name for name in named() if name.startswith("prunebench.harness.inside.")]
    assert len(sent) >= 8
    for name in sent:
        assert next(iter(inspect.signature(resolve_name(name)).parameters)) == "report", name


def functions_of(file: str) -> set[str]:
    """The names of all functions in a test file of that name."""
    (path,) = (rooms.ROOT / "tests").rglob(f"{file}.py")
    functions = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef))
    return {function.name for function in functions}


def verdicts() -> list[str]:
    """The last cell of every row of the page that compares the published methods with ours."""
    rows = [line for line in FIDELITY.read_text().splitlines() if line.startswith("| ")]
    return [cell for row in rows if (cell := row.strip("| ").rpartition(" | ")[2]) != "ours"]


def test_every_line_that_is_the_same_names_a_test_that_is_there() -> None:
    assert len(verdicts()) > 60
    for cell in verdicts():
        assert re.match(r"(same|deviates: |fault: )", cell), cell
        named = TEST.findall(cell)
        assert named or not cell.startswith("same"), cell
        for file, name in named:
            assert name in functions_of(file), cell


def test_the_test_can_fail() -> None:
    with pytest.raises(AttributeError):
        resolve_name("prunebench.harness.inside.run:nothing")
