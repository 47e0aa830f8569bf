"""The tables on disk against those that the runs make: what was altered, and where."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from prunebench.harness.analysis.claims import published
from prunebench.harness.analysis.results import Results
from prunebench.harness.errors import StoreError
from prunebench.harness.record.findings import Finding
from prunebench.harness.report.tables import table_list

if TYPE_CHECKING:
    from prunebench.harness.record.store import Experiment

_ROUNDING = 1e-9  # relative, of numbers in full precision: sums are not made in one order everywhere
_TOLD = 3  # differences of one file
_OF_NO_RUN = re.compile(r"\\label\{tab:[^}]*\}|note = \{Version [^}]*\}")
"""What tells the folder's name, which may be changed, or which prunebench wrote the file."""
_SEPARATORS = {".md": r"(?<!\\)\|", ".tex": r"(?<!\\)&", ".bib": r"\n"}  # BibTeX has no cells: a line is one


class Recomputed(NamedTuple):
    """What was compared: findings, the number of files, and what was not and why, a sentence each."""

    findings: list[Finding]
    files: int
    notes: list[str]


def compare(experiment: Experiment) -> Recomputed:
    """Make every table of an experiment again and compare the files in its ``tables/`` with it; nothing is written."""
    folder = experiment.tables_folder
    results = Results([experiment], _reference(experiment), _targets(folder))
    try:
        made = table_list.files_of_part(results, table_list.tables(results))
    except StoreError as error:
        return Recomputed([], 0, [f"no table was made again: {error}"])
    there = {path.name for path in folder.iterdir() if path.is_file()} if folder.is_dir() else set()
    others = _of_other_claims(experiment)
    there -= others
    findings = [
        finding
        for name in sorted(there & set(made))
        for finding in _first(folder / name, list(_differences(folder / name, made[name])))
    ]
    stale = sorted(there & table_list.possible() - set(made))
    findings += [Finding.of(folder / name, "file", "a table", "that these runs make none of it") for name in stale]
    notes = {
        "not there": sorted(set(made) - there),
        "no tables of ours": sorted(there - table_list.possible() - set(made)),
    }
    said = [f"{folder}: {what}: {', '.join(names)}" for what, names in notes.items() if names]
    said += [f"{folder}: not compared, of a user's claims: {', '.join(sorted(others))}"] if others else []
    return Recomputed(findings, len(there & set(made)), said)


def _of_other_claims(experiment: Experiment) -> set[str]:
    """The files of claims, where they are not of the published ones: others were registered, or have other names."""
    path = experiment.tables_folder / "claims.csv"
    known = {claim.id for claim in published()}
    ids = {str(row.get("id")) for row in csv.DictReader(_text(path).splitlines())} if path.is_file() else set()
    others = ids and (experiment.config.claims or not ids & known)
    return {f"claims{suffix}" for suffix in (".csv", ".md", ".tex")} if others else set()


def _reference(experiment: Experiment) -> str | None:
    """The agent that the tables on disk compare with, where they name one of the experiment's."""
    path = experiment.tables_folder / "differences.csv"
    named = {row.get("reference") for row in csv.DictReader(_text(path).splitlines())} if path.is_file() else set()
    known = [agent.label for agent in experiment.config.agents if agent.label in named]
    return known[0] if len(known) == 1 else None


def _targets(folder: Path) -> list[float]:
    """The accuracies that the table on disk asks for besides the controls'."""
    path = folder / "anytime.csv"
    heading = _text(path).partition("\n")[0] if path.is_file() else ""
    found = [float(target) for target in re.findall(r"(?<=,)(\d+(?:\.\d+)?)_accuracy_percent", heading)]
    return [target for target in found if 0 < target <= 100]


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "backslashreplace")


def _differences(path: Path, made: str) -> Iterator[Finding]:
    """Cell by cell, or line by line where these are not of one shape."""
    said, made = (_OF_NO_RUN.sub("", text) for text in (_text(path), made))
    if said == made:
        return
    before, after = (text.split("\n") for text in (said, made))
    if len(before) != len(after):
        yield Finding.of(path, "lines", len(before), len(after))
    cells = [_cells(path, line) for line in after]
    for number, (one, other) in enumerate(zip(before, after, strict=False), 1):
        if one != other:
            right = cells[number - 1]
            headings = next(first for first in cells if len(first) == len(right))
            yield from _of_line(path, number, _cells(path, one), right, headings)


def _of_line(
    path: Path, number: int, before: Sequence[str], after: Sequence[str], headings: Sequence[str]
) -> Iterator[Finding]:
    where = f"line {number}"
    if len(before) != len(after):
        yield Finding.of(path, where, f"{len(before)} cells", f"{len(after)} cells")
        return
    for column, (one, other) in enumerate(zip(before, after, strict=True)):
        if one != other and not (path.suffix == ".csv" and _rounded(one, other)):
            named = f", {headings[column]}" if len(after) > 1 else ""
            yield Finding.of(path, where + named, *_apart(one, other))


def _apart(one: str, other: str) -> tuple[str, str]:
    """Two texts from a little before the first character that differs."""
    first = next((n for n, pair in enumerate(zip(one, other, strict=False)) if len(set(pair)) > 1), 0)
    begin = max(0, one.rfind(" ", 0, max(0, first - 20)))
    return one[begin:], other[begin:]


def _cells(path: Path, line: str) -> list[str]:
    if path.suffix == ".csv":
        return next(csv.reader([line]), [])
    return [cell.strip() for cell in re.split(_SEPARATORS[path.suffix], line)]


def _rounded(one: str, other: str) -> bool:
    try:
        return math.isclose(float(one), float(other), rel_tol=_ROUNDING)
    except ValueError:
        return False


def _first(path: Path, found: Sequence[Finding]) -> list[Finding]:
    """The first few differences of a file, and how many there are besides."""
    more = len(found) - _TOLD
    if more <= 0:
        return list(found)
    return [*found[:_TOLD], Finding.of(path, "file", "what is told above", f"{more} more differences")]
