"""What the pages say to type can be typed, to its last option and value; the files that they name are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from prunebench.harness.cli import cli
from prunebench.harness.errors import USER_ERRORS

ROOT = Path(__file__).parents[1]
ELSEWHERE = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "results/README.md")
PAGES = sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("results/*/README.md"), *(ROOT / name for name in ELSEWHERE)])
BLOCK = re.compile(r"^```[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"`((?:prunebench|make) [^`]*)`")
FILE = re.compile(r"`((?:agents|envs|harness|tests|docs|results/(?:reference|study2))/[\w./-]*)`")
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE)


def commands(page: Path) -> list[str]:
    text = re.sub(r"\\\n\s*", " ", page.read_text())
    lines = [line.strip().removeprefix(".venv/bin/") for block in BLOCK.findall(text) for line in block.splitlines()]
    return [line for line in [*lines, *NAMED.findall(text)] if line.startswith(("prunebench ", "make "))]


def wrong(command: str) -> str:
    """What of a command there is not; empty where it can be typed."""
    program, *words = shlex.split(re.split(r" #|   |[;&|<]", command.partition("$(")[0])[0].replace("...", ""))
    if program == "make":
        names = [word.partition("=") for word in words]
        return " ".join(
            name for name, value, _ in names if not (re.search(rf"\b{name}\b", MAKEFILE) if value else name in TARGETS)
        )
    if not words or words[0].startswith("-"):
        return ""
    found = cli.get_command(click.Context(cli), words[0])
    if found is None:
        return words[0]
    known = {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}
    named = [word.partition("=")[0].strip("[]`,.") for word in words if word.startswith(("--", "[--"))]
    unknown = " ".join(name for name in named if name not in {*known, "--help"})
    return unknown or ("" if "<" in command else _refused(found, words))


def _refused(found: click.Command, words: list[str]) -> str:
    """What the command says to its values, where none of them only stands for one."""
    if len(words) == 1 or any(re.search(r"\[|^(--help|FILE|FOLDER|TOOL|COMMAND)$", word) for word in words):
        return ""
    try:
        found.make_context(words[0], words[1:])
    except (click.ClickException, *USER_ERRORS) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_can_be_typed_and_files_are_there(page: Path) -> None:
    assert {command: problem for command in commands(page) if (problem := wrong(command))} == {}
    assert [name for name in FILE.findall(page.read_text()) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("prunebench bench --modell x", "--modell"),
        ("prunebench bensh", "bensh"),
        ("prunebench bench --seeds 3 --evaluations many", "'many' is not a valid integer"),
        ("prunebench track results/a --to tensorbord", "did you mean 'tensorboard'"),
        ("prunebench bench --macs 11X", "11X"),
        ("make tets", "tets"),
        ("make bench SEADS=3", "SEADS"),
    ],
)
def test_the_test_can_fail(command: str, problem: str) -> None:
    assert problem in wrong(command)


def test_there_are_commands_and_files_to_look_at() -> None:
    assert sum(len(commands(page)) for page in PAGES) > 100
    assert sum(len(FILE.findall(page.read_text())) for page in PAGES) > 50
