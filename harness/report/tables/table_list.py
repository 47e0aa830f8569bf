"""Every table: made of results, printed, and written as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from prunebench.harness.analysis.results import Results
from prunebench.harness.files import write_text
from prunebench.harness.record import store
from prunebench.harness.report.tables import (
    table_agents,
    table_anytime,
    table_claims,
    table_components,
    table_differences,
    table_images,
    table_statistics,
    table_variances,
    tabular,
)

if TYPE_CHECKING:
    from prunebench.harness.report.tables.tabular import Table


class Home(Protocol):
    """The module of one table."""

    NAME: str

    def table(self, results: Results) -> Table | None:
        """The table; None where it says nothing of such results."""


TABLES: Sequence[Home] = (
    table_agents,
    table_statistics,
    table_differences,
    table_variances,
    table_images,
    table_anytime,
    table_components,
    table_claims,
)
"""In the order of the page. To add one: its module, and an entry here."""

FORMATS = tuple(tabular.FORMS)
_SUFFIXES = {"markdown": "md", "csv": "csv", "latex": "tex"}


def tables(results: Results) -> dict[str, Table]:
    """The tables that such results call for, by name.

    Raises:
        StoreError: a file of an experiment is damaged.
        TaskError: the reference took part in none of the experiments.
    """
    made = {home.NAME: home.table(results) for home in TABLES}
    return {name: table for name, table in made.items() if table is not None}


def render(results: Results, form: str, caption: str | None = None) -> str:
    """The table of all agents in one of :data:`FORMATS`, with its caption and what is missing from it.

    Raises:
        StoreError: a file of an experiment is damaged.
    """
    return tabular.FORMS[form](table_agents.table(results, caption))


def write(results: Results) -> None:
    """Rebuild every file in the ``tables/`` of the experiments, each its own.

    Raises:
        StoreError, TaskError: as :func:`tables`; nothing was written.
    """
    made = [(part, tables(part)) for part in results.parts]
    for part, of_it in made:
        save_part(part, of_it)


def rebuild(folder: Path) -> Results:
    """Rebuild the tables of the experiment in a folder and return its results; raises as :func:`write`, or OSError."""
    results = Results([store.load(folder)])
    write(results)
    return results


def save_part(part: Results, made: Mapping[str, Table]) -> None:
    """Write an experiment's tables and ``runs.csv`` beside its runs."""
    save(made, part.experiment.tables_folder)
    rows = part.runs.drop(columns=["task", "split_seed", "setting"]).rename(columns=tabular.with_unit)
    write_text(part.experiment.tables_folder / "runs.csv", rows.to_csv(index=False))


def save(made: Mapping[str, Table], folder: Path) -> None:
    """Write tables into a folder, each as Markdown, CSV and LaTeX, and remove those there that are not among them."""
    for name, table in made.items():
        for form, suffix in _SUFFIXES.items():
            write_text(folder / f"{name}.{suffix}", tabular.FORMS[form](table))
    for name in {home.NAME for home in TABLES} - set(made):
        for suffix in _SUFFIXES.values():
            (folder / f"{name}.{suffix}").unlink(missing_ok=True)
