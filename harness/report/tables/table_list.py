"""Every table: made of results, printed, and written as files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from prunebench.harness.analysis.results import Results
from prunebench.harness.errors import ConfigError
from prunebench.harness.files import write_text
from prunebench.harness.record import store
from prunebench.harness.report.tables import (
    methods,
    table_agents,
    table_anytime,
    table_claims,
    table_components,
    table_confirmed,
    table_differences,
    table_images,
    table_matrix,
    table_own_claims,
    table_scores,
    table_seeds,
    table_statistics,
    table_tradeoff,
    table_variances,
    tabular,
)
from prunebench.harness.report.tables.latex import latex

if TYPE_CHECKING:
    from prunebench.harness.experiments.agentspec import AgentSpec
    from prunebench.harness.record.store import Experiment
    from prunebench.harness.report.tables.tabular import Table


class Home(Protocol):
    """The module of one table."""

    NAME: str

    def table(self, results: Results) -> Table | None:
        """The table; None where it says nothing of such results."""


TABLES: Sequence[Home] = (
    table_agents,
    table_confirmed,
    table_scores,
    table_tradeoff,
    table_statistics,
    table_differences,
    table_matrix,
    table_variances,
    table_images,
    table_anytime,
    table_components,
    table_seeds,
    table_claims,
    table_own_claims,
)
"""In the order of the page. To add one: its module, and an entry here."""

FORMS: dict[str, Callable[[Table], str]] = {
    "terminal": tabular.terminal,
    "markdown": tabular.markdown,
    "csv": tabular.csv,
    "latex": latex,
}
"""By name: what a table can be printed as."""
FORMATS = tuple(FORMS)
METHODS = "methods.bib"
_SUFFIXES = {"markdown": "md", "csv": "csv", "latex": "tex"}
_RUNS = "runs.csv"


def tables(results: Results) -> dict[str, Table]:
    """The tables that such results call for, by name.

    Raises:
        StoreError: a file of an experiment is damaged.
        TaskError: the reference took part in none of the experiments.
    """
    made = {home.NAME: home.table(results) for home in TABLES}
    named = [(name, table) for name, table in made.items() if table is not None]
    return {name: replace(table, label=label(results.experiments, name)) for name, table in named}


def label(experiments: Sequence[Experiment], name: str) -> str:
    """What a paper refers to a table by: it names the experiments' folders, so that each table has its own."""
    folders = "-".join(experiment.folder.resolve().name for experiment in experiments)
    return f"tab:{re.sub(r'[^A-Za-z0-9.]+', '-', folders).strip('-')}:{name}"


def render(
    results: Results, form: str, caption: str | None = None, columns: Sequence[str] = (), label_as: str | None = None
) -> str:
    """The table of all agents in one of :data:`FORMATS`, with its caption and what is missing from it.

    Args:
        results: of at least one experiment.
        form: its name.
        caption: without it, one is generated.
        columns: of :data:`prunebench.harness.report.tables.table_agents.KEYS`; the default are all that say something.
        label_as: in LaTeX; the default is that of :func:`label`.

    Raises:
        ConfigError: columns are asked for in a form that always has all.
        StoreError: a file of an experiment is damaged.
        TaskError: there is no such column.
    """
    if columns and form == "csv":
        raise ConfigError("columns: a table as csv always has all, expected the format terminal, markdown or latex")
    made = table_agents.table(results, caption, columns)
    return FORMS[form](replace(made, label=label_as or label(results.experiments, made.name)))


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
    _save(files_of_part(part, made), part.experiment.tables_folder)


def save(made: Mapping[str, Table], agents: Sequence[AgentSpec], folder: Path) -> None:
    """Write tables into a folder, each as Markdown, CSV and LaTeX, and remove those there that are not among them."""
    _save(files(made, agents), folder)


def _save(texts: Mapping[str, str], folder: Path) -> None:
    for name, text in texts.items():
        write_text(folder / name, text)
    for name in possible() - set(texts):
        (folder / name).unlink(missing_ok=True)


def files_of_part(part: Results, made: Mapping[str, Table]) -> dict[str, str]:
    """By name what the files in an experiment's ``tables/`` hold."""
    rows = part.runs.drop(columns=["task", "split_seed", "setting"]).rename(columns=tabular.with_unit)
    return files(made, part.specs) | {_RUNS: rows.to_csv(index=False)}


def files(made: Mapping[str, Table], agents: Sequence[AgentSpec]) -> dict[str, str]:
    """By name what files of tables hold, each table as Markdown, CSV and LaTeX.

    Beside them what a paper would cite for these agents, as BibTeX; nothing where there are no tables.
    """
    texts = {
        f"{name}.{suffix}": FORMS[form](table) for name, table in made.items() for form, suffix in _SUFFIXES.items()
    }
    return texts | ({METHODS: methods.bibtex(agents)} if made else {})


def possible() -> set[str]:
    """The names of all files that tables may be written into, but for that of the runs, which is always there."""
    return {f"{home.NAME}.{suffix}" for home in TABLES for suffix in _SUFFIXES.values()} | {METHODS}
