"""One table in several forms: for a terminal, for a page (Markdown) and for programs (CSV); for a paper see latex."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable
from tabulate import tabulate

Row = Mapping[str, Any]
Mark = Literal["best", "tied"]

DASH = "-"
_WIDTH = 110


class Column(NamedTuple):
    """A column: how it is called, and how a row's cell reads."""

    key: str
    heading: str  # its lines are joined where a heading has one line only
    short: str  # for a paper, where the caption explains it
    cell: Callable[[Row], str]
    left: bool = False
    share: float = 0.0  # of a LaTeX line, for text that has to be broken
    ranked: str = ""  # column of the runs by which the best agent is marked here
    optional: bool = False  # left out where no row has anything in it
    common: bool = False  # left out where all rows say the same: a note says it once
    detail: bool = False  # what a page unfolds, and a paper leaves out

    @property
    def line(self) -> str:
        """The heading in one line."""
        return self.heading.strip().replace("-\n", "").replace("\n", " ")


@dataclass(frozen=True)
class Table:
    """What stands in a table.

    Attributes:
        name: of its files.
        title: a few words.
        columns: in order.
        rows: from column names of ``frame`` to values.
        frame: the numbers in full precision, for the CSV.
        caption: what is shown, in a sentence or a paragraph.
        notes: what has to be known besides; a line each.
        how: what was measured and how, at length: below the notes, on a page folded up.
        warning: what has to be known before anything is read; a line above the table.
        marks: by index of a row and key of a column: ``best`` (bold in LaTeX and HTML), ``tied`` (underlined: not told
            apart from it by any test).
        legend: what the marks mean.
        explained: what short headings mean, which LaTeX has to say.
        closing: whether a page shows it once, at its end, of all experiments together.
        group: key of the first column where it names several rows at once: said once where rows cannot be sorted.
        label: what a paper refers to it by; the default is made from its name.
        appendix: whether it is for papers alone: a page shows the same elsewhere.
    """

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    frame: pd.DataFrame
    caption: str
    notes: Sequence[str] = ()
    how: str = ""
    warning: str = ""
    marks: Mapping[tuple[int, str], Mark] = field(default_factory=dict)
    legend: str = ""
    explained: str = ""
    closing: bool = False
    group: str = ""
    label: str = ""
    appendix: bool = False

    @property
    def below(self) -> list[str]:
        """The notes, and what was measured."""
        return [*self.notes, *filter(None, [self.how])]

    def cells(self) -> list[list[str]]:
        """The text of every cell, row by row."""
        return [[column.cell(row) for column in self.columns] for row in self.rows]

    def grouped(self) -> list[list[str]]:
        """The same, with the group's name in its first row alone."""
        cells = self.cells()
        if self.group:
            for before, row in reversed(list(pairwise(cells))):
                row[0] = "" if row[0] == before[0] else row[0]
        return cells


def number(decimals: int) -> Callable[[Any], str]:
    """How a number reads: a dash where there is none."""
    return lambda value: DASH if pd.isna(value) else f"{value:.{decimals}f}"


def text(key: str) -> Callable[[Row], str]:
    """A cell that is what stands there."""
    return lambda row: DASH if pd.isna(row[key]) else str(row[key])


def plain(key: str, decimals: int = 0) -> Callable[[Row], str]:
    """A cell with one number."""
    form = number(decimals)
    return lambda row: form(row[key])


def mean_std(key: str, decimals: int) -> Callable[[Row], str]:
    """A cell with a mean and, where there is one, a standard deviation."""
    form = number(decimals)

    def cell(row: Row) -> str:
        mean, std = form(row[f"{key}_mean"]), form(row[f"{key}_std"])
        return mean if std == DASH else f"{mean} ± {std}"

    return cell


def interval(low: str, high: str, decimals: int) -> Callable[[Row], str]:
    """A cell with an interval."""
    form = number(decimals)

    def cell(row: Row) -> str:
        return DASH if pd.isna(row[low]) else f"[{form(row[low])}, {form(row[high])}]"

    return cell


def p_value(key: str) -> Callable[[Row], str]:
    """A cell with a p value, in three decimals."""

    def cell(row: Row) -> str:
        value = row[key]
        return DASH if pd.isna(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"

    return cell


def rows(frame: pd.DataFrame) -> list[Row]:
    """The rows of a frame."""
    return [dict(row) for row in frame.to_dict("records")]  # type: ignore[arg-type]


def shown(columns: Sequence[Column], told: Sequence[Row]) -> list[Column]:
    """The columns, without optional ones that say nothing of these rows and common ones that say one thing of all."""
    return [c for c in columns if not (c.optional and not _said(c, told)) and not _same(c, told)]


def said_once(columns: Sequence[Column], told: Sequence[Row]) -> list[str]:
    """What common columns say of all rows, in a line; none where each differs from row to row."""
    parts = [f"{column.line}: {_said(column, told).pop()}" for column in columns if _same(column, told)]
    return [f"The same in every row: {'; '.join(parts)}."] if parts else []


def _same(column: Column, told: Sequence[Row]) -> bool:
    return column.common and len(_said(column, told)) == 1


def _said(column: Column, told: Sequence[Row]) -> set[str]:
    return {column.cell(row) for row in told} - {DASH}


AGENT = Column("agent", "agent", "agent", text("agent"), left=True)
TESTS = (Column("p", "p", "p", p_value("p")), Column("p_holm", "p,\nHolm", "p, Holm", p_value("p_holm")))
"""What a test says: p, and p after the correction."""


def csv(table: Table) -> str:
    """Full precision; reads back with pandas."""
    return table.frame.rename(columns=with_unit).to_csv(index=False)


def with_unit(column: str) -> str:
    """A column's name with its unit, where it has one that is not in the name."""
    if column.endswith("_variance") and not column.startswith("p_"):
        return f"{column}_percent2"
    return f"{column}_percent" if "accuracy" in column or column.endswith("_kept") else column


def terminal(table: Table) -> str:
    """Plain text, as wide as the table is."""
    shown = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    height = max(column.heading.count("\n") for column in table.columns)
    for column in table.columns:
        heading = "\n" * (height - column.heading.count("\n")) + column.heading
        shown.add_column(heading, justify="left" if column.left else "right", no_wrap=True)
    for cells in table.grouped():
        shown.add_row(*map(escape, cells))
    console = Console(width=1000, color_system=None)  # as wide as the table is, also where nobody knows the width
    with console.capture() as capture:
        console.print(shown)
    notes = [textwrap.fill(line, _WIDTH) for line in [table.caption, *table.below] if line]
    lines = [line.rstrip() for line in capture.get().splitlines()]
    return "\n".join([*above(table), *filter(None, lines), "", *notes, ""])


def markdown(table: Table) -> str:
    """A pipe table, its caption and its notes."""
    notes = [f"- {note}".replace("<", "&lt;") for note in table.below]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in table.grouped()]
    grid = gridded(table.columns, cells, "pipe", [c.line for c in table.columns])
    return "\n".join([*above(table), grid, "", table.caption, "", *notes])


def above(table: Table) -> list[str]:
    """The lines that come before everything."""
    return [table.warning, ""] if table.warning else []


def gridded(columns: Sequence[Column], cells: list[list[str]], form: str, headings: list[str]) -> str:
    """Cells and headings in a form of tabulate."""
    sides = ["left" if column.left else "right" for column in columns]
    return tabulate(cells, headings, tablefmt=form, colalign=sides, disable_numparse=True)
