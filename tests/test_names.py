"""Functions that are named in text, because whoever names them must not import them, are there."""

from __future__ import annotations

import ast
import inspect
import re
from pkgutil import resolve_name

import pytest
import rooms

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


def test_the_test_can_fail() -> None:
    with pytest.raises(AttributeError):
        resolve_name("prunebench.harness.inside.run:nothing")
