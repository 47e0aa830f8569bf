"""What the pages say to type can be typed: every command in a code block is one, with options that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from prunebench.harness.cli import cli

ROOT = Path(__file__).parents[1]
PAGES = sorted({ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md", *ROOT.glob("docs/**/*.md")})
BLOCK = re.compile(r"^```[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"`(prunebench(?: [^`]*)?)`")


def commands(page: Path) -> list[str]:
    text = page.read_text().replace("\\\n", " ")
    lines = [line.strip().removeprefix(".venv/bin/") for block in BLOCK.findall(text) for line in block.splitlines()]
    return [line for line in [*lines, *NAMED.findall(text)] if line.startswith("prunebench ")]


def wrong(command: str) -> str:
    """What of a command there is not; empty where it can be typed."""
    words = shlex.split(re.split(r" #|   |[;&|<]", command.partition("$(")[0])[0].replace("...", ""))[1:]
    if not words or words[0].startswith("-"):
        return ""
    found = cli.get_command(click.Context(cli), words[0])
    if found is None:
        return words[0]
    known = {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}
    named = [word.partition("=")[0].strip("[]`,.") for word in words if word.startswith(("--", "[--"))]
    return " ".join(name for name in named if name not in {*known, "--help"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_can_be_typed(page: Path) -> None:
    assert {command: problem for command in commands(page) if (problem := wrong(command))} == {}


def test_the_test_can_fail() -> None:
    assert wrong("prunebench bench --modell x") == "--modell"
    assert wrong("prunebench bensh") == "bensh"
    assert sum(len(commands(page)) for page in PAGES) > 60
