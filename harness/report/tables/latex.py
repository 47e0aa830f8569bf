"""A table for a paper: a ``table`` environment that fits a line, with its caption, notes and label."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from prunebench.harness.report.tables.tabular import DASH, above, gridded

if TYPE_CHECKING:
    from prunebench.harness.report.tables.tabular import Column, Mark, Table

_MARKS = {"best": ("\ue000", "\\textbf{"), "tied": ("\ue001", "\\underline{")}  # placeholders that nothing escapes
_END, _BREAK = "\ue002", "\ue003"
_PLACEHOLDERS = (*_MARKS.values(), (_END, "}"), (_BREAK, "\\allowbreak{}"))
_BREAKABLE = re.compile(r"(?<=\S)([_:=])(?=\S)")  # names of agents and their options are longer than a column


def latex(table: Table) -> str:
    """A ``table`` environment for booktabs: caption above, notes below. What is wider than a line is scaled to it.

    Columns with a share of the line break their text instead. Details are left out.
    """
    body = _body(table)
    if not any(column.share for column in table.columns):
        body = f"\\resizebox{{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}}{{!}}{{%\n{body}}}"
    told = [*table.below, *filter(None, (table.explained, table.legend))]
    notes = [f"\\par\\smallskip\n\\parbox{{\\linewidth}}{{{_escaped(_sentences(told))}}}"] if told else []
    lines = [
        "% needs \\usepackage{array,booktabs,graphicx}",
        "\\begin{table}",
        "\\centering",
        "\\setlength{\\emergencystretch}{3em}",
        f"\\caption{{{_escaped(table.caption)}}}",
        f"\\label{{{table.label or f'tab:{table.name}'}}}",
        "\\scriptsize",
        "\\setlength{\\tabcolsep}{2.5pt}",
        *(f"\\textbf{{{_escaped(line)}}}\\par\\smallskip" for line in filter(None, above(table))),
        body,
        *notes,
        "\\end{table}",
        "",
    ]
    return _symbols("\n".join(lines))


def _body(table: Table) -> str:
    columns = [(index, column) for index, column in enumerate(table.columns) if not column.detail]
    cells = [
        [_cell(row[index], column, table.marks.get((number, column.key))) for index, column in columns]
        for number, row in enumerate(table.grouped())
    ]
    kept = [column for _, column in columns]
    body = gridded(kept, cells, "latex_booktabs", [column.short for column in kept])
    sides = "".join(map(_side, kept))
    body = re.sub(r"(?<=\\begin\{tabular\}){[lr]*}", lambda _: f"{{{sides}}}", body, count=1)
    for placeholder, command in _PLACEHOLDERS:
        body = body.replace(placeholder, command)
    return body


def _side(column: Column) -> str:
    """How LaTeX aligns a column."""
    if column.share:
        return f">{{\\raggedright\\arraybackslash}}p{{{column.share:g}\\linewidth}}"
    return "l" if column.left else "r"


def _cell(cell: str, column: Column, mark: Mark | None) -> str:
    if column.share:
        cell = _BREAKABLE.sub(rf"\1{_BREAK}", cell)
    return cell if mark is None or cell == DASH else f"{_MARKS[mark][0]}{cell}{_END}"


def _sentences(notes: Sequence[str]) -> str:
    return " ".join(note if note.endswith(".") else f"{note}." for note in notes)


def _symbols(text: str) -> str:
    for symbol, command in (("±", "$\\pm$"), ("²", "$^2$"), ("≥", "$\\ge$"), ("∞", "$\\infty$")):
        text = text.replace(symbol, command)
    return text


def _escaped(text: str) -> str:
    """Text for LaTeX; a backslash first, or the others would be escaped twice."""
    text = _BREAKABLE.sub(rf"\1{_BREAK}", text).replace("\\", "\\textbackslash ")
    for special in "&%$#_{}":
        text = text.replace(special, "\\" + special)
    for symbol, command in (("~", "\\textasciitilde "), ("^", "\\textasciicircum "), ("<", "$<$"), (">", "$>$")):
        text = text.replace(symbol, command)
    return text.replace(_BREAK, "\\allowbreak{}")
