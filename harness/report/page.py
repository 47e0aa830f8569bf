"""The report: one HTML file that needs nothing else, for a person with a minute."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.figure import Figure

from prunebench.harness import seeds as sets
from prunebench.harness.errors import ConfigError
from prunebench.harness.files import write_text
from prunebench.harness.record import store
from prunebench.harness.report import templates
from prunebench.harness.report.figures import figure_files, figure_list
from prunebench.harness.report.tables import caption, table_list, table_runs

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results
    from prunebench.harness.record.store import Experiment
    from prunebench.harness.report.tables.tabular import Table

_STEM = "report"
_TEMPLATE = "page.html.jinja"


class _Part(NamedTuple):
    """What the page shows of one experiment."""

    results: Results
    tables: dict[str, Table]
    figures: dict[str, Figure]


def write(
    results: Results,
    path: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Path:
    """Write the report of one or several experiments, and every experiment's tables and figures beside its runs.

    The latter are of all runs: results of some seeds alone leave them as they are. The tables and figures of several
    together go into folders beside the report: :func:`joint_folder`.

    Args:
        results: of the experiments.
        path: of the HTML file; the default is in the experiment's folder, or in the folder that holds all of them:
            ``report.html``, or with the chosen seeds in its name.
        progress: see :mod:`prunebench.envs.progress`.

    Returns:
        The HTML file.

    Raises:
        ConfigError: several experiments lie in different folders, and there is no ``path``.
        StoreError: a file of an experiment is damaged.
        TaskError: the reference took part in none of the experiments.
    """
    target = path or default_path(results.experiments, results.seeds)
    if target.is_dir():
        raise ConfigError(f"html {str(target)!r} is a folder: expected a file")
    parts, joint = _drawn(results, progress)
    text = _render(results, parts, joint)
    for part, tables, figures in parts if results.seeds is None else ():
        table_list.save_part(part, tables)
        figure_files.write(figures, part.experiment.figures_folder)
    table_list.save(joint.tables if joint else {}, results.specs, joint_folder(target))
    figure_files.write(joint.figures if joint else {}, joint_folder(target, "figures"))
    write_text(target, text)
    return target


def rendered(
    results: Results, progress: Callable[[str, int, int], None] = lambda what, done, total: None
) -> tuple[str, dict[str, dict[str, str]]]:
    """The report of one or several experiments, and nothing is written.

    Returns:
        The HTML, and of every task, by its name, what the files of its tables hold.

    Raises:
        StoreError: a file of an experiment is damaged.
    """
    parts, joint = _drawn(results, progress)
    tables = {part.results.reading.name: table_list.files_of_part(part.results, part.tables) for part in parts}
    return _render(results, parts, joint), tables


def _drawn(results: Results, progress: Callable[[str, int, int], None]) -> tuple[list[_Part], _Part | None]:
    """Tables and figures of every experiment, and of several those of all together."""
    parts = []
    for number, part in enumerate(results.parts):
        progress("drawing figures", number, len(results.parts))
        parts.append(_Part(part, table_list.tables(part), figure_list.draw(part)))
    return parts, _Part(results, table_list.tables(results), figure_list.draw(results)) if len(parts) > 1 else None


def joint_folder(report: Path, what: str = "tables") -> Path:
    """Where the tables, or figures, of several experiments together are, beside their report."""
    return report.with_name(f"{report.stem}-{what}")


def default_path(experiments: Sequence[Experiment], seeds: Collection[int] | None = None) -> Path:
    """Where a report goes unless the user says so.

    Raises:
        ConfigError: several experiments lie in different folders.
    """
    file = f"{_STEM}.html" if seeds is None else f"{_STEM}-seeds-{sets.write(seeds)}.html"
    if len(experiments) == 1:
        return experiments[0].folder / file
    parents = {experiment.folder.parent for experiment in experiments}
    if len(parents) > 1:
        folders = ", ".join(sorted(map(str, parents)))
        raise ConfigError(f"the experiments lie in several folders ({folders}): name the report's file with --html")
    return parents.pop() / file


def _render(results: Results, parts: Sequence[_Part], joint: _Part | None) -> str:
    closing = (joint or parts[0]).tables.values()
    return templates.template(_TEMPLATE).render(
        title=caption.headline(results.experiments),
        verdicts=results.joint_verdicts if joint else results.verdicts,
        joint=_content(joint, "e") if joint else None,
        closing=[table for table in closing if table.closing],
        parts=[_shown(part, number) for number, part in enumerate(parts)],
    )


def _shown(part: _Part, number: int) -> dict[str, Any]:
    """What the template shows of one experiment."""
    name, experiment = part.results.reading.name, part.results.experiment
    key = re.sub(r"\W+", "-", name)
    return {
        "name": name,
        "key": key,
        "verdicts": part.results.verdicts,
        **_content(part, f"e{number}"),
        "runs": table_runs.table(part.results),
        "configuration": _texts(experiment, store.NAME),
        "manifest": _texts(experiment, experiment.manifest_path.name),
    }


def _texts(experiment: Experiment, name: str) -> str:
    """A file of the experiment; of one in several folders that of each."""
    return "\n".join((folder / name).read_text(encoding="utf-8") for folder in experiment.folders)


def _content(part: _Part, key: str) -> dict[str, Any]:
    """The tables that belong here, and the figures, whose ids begin with a key."""
    return {
        "tables": [table for table in part.tables.values() if not (table.closing or table.appendix)],
        "figures": templates.figures(part.figures, figure_list.DRAWINGS, key),
    }
