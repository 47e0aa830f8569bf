"""The report: one HTML file that needs nothing else, for a person with a minute."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from prunebench.harness.analysis import frames, verdicts
from prunebench.harness.errors import ConfigError
from prunebench.harness.files import write_text
from prunebench.harness.record.store import Experiment
from prunebench.harness.report import analysis_tables, caption, figures, tables
from prunebench.harness.report.tables import Part
from prunebench.harness.report.tabular import Table

FILE = "report.html"
_TEMPLATE = "page.html.jinja"

Drawn = Mapping[str, Figure]  # by name, see :func:`prunebench.harness.report.figures.draw`


def write(
    experiments: Sequence[Experiment],
    path: Path | None = None,
    *,
    reference: str | None = None,
    targets: Sequence[float] = (),
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Path:
    """Write the report of one or several experiments, and every experiment's tables and figures beside its runs.

    The tables of several together go into a folder beside the report: :func:`joint_folder`.

    Args:
        experiments: at least one, finished or not.
        path: of the HTML file; the default is in the experiment's folder, or in the folder that holds all of them.
        reference: the agent that others are compared with; see
            :func:`prunebench.harness.analysis.comparison.reference_agent`.
        targets: accuracies (%) to be reached, besides those of the controls.
        progress: told what is done, how much of it, and of how much.

    Returns:
        The HTML file.

    Raises:
        ConfigError: several experiments lie in different folders, and there is no ``path``.
        StoreError: a file of an experiment is damaged.
        TaskError: there is no such reference agent.
    """
    target = path or default_path(experiments)
    _check(target, targets)
    drawn = []
    for number, experiment in enumerate(experiments):
        progress("drawing figures", number, len(experiments))
        drawn.append(figures.draw(experiment))
    runs = frames.joined(experiments)
    parts = tables.parts(experiments, runs, reference, targets)
    joint = tables.together(experiments, runs, reference, targets) if len(parts) > 1 else []
    text = _render(parts, drawn, joint)
    for part, of_it in zip(parts, drawn, strict=True):
        tables.save_part(part)
        figures.write(part.experiment, of_it)
    tables.save(joint, joint_folder(target))
    write_text(target, text)
    return target


def joint_folder(report: Path) -> Path:
    """Where the tables of several experiments together are, beside their report."""
    return report.with_name(f"{report.stem}-tables")


def _check(path: Path, targets: Sequence[float]) -> None:
    if path.is_dir():
        raise ConfigError(f"html {str(path)!r} is a folder: expected a file")
    for target in targets:
        if not 0 < target <= 100:
            raise ConfigError(f"target {target:g}: expected an accuracy in per cent, above 0 and at most 100")


def default_path(experiments: Sequence[Experiment]) -> Path:
    """Where a report goes unless the user says so.

    Raises:
        ConfigError: several experiments lie in different folders.
    """
    if len(experiments) == 1:
        return experiments[0].folder / FILE
    parents = {experiment.folder.parent for experiment in experiments}
    if len(parents) > 1:
        folders = ", ".join(sorted(map(str, parents)))
        raise ConfigError(f"the experiments lie in several folders ({folders}): name the report's file with --html")
    return parents.pop() / FILE


def _render(parts: Sequence[Part], drawn: Sequence[Drawn], joint: Sequence[Table]) -> str:
    return _template().render(
        title=caption.headline([part.experiment for part in parts]),
        several=len(parts) > 1,
        joint=joint,
        claims=next(table for table in joint or parts[0].tables if table.name == "claims"),
        parts=[_part(part, of_it) for part, of_it in zip(parts, drawn, strict=True)],
    )


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(files("prunebench.harness.report").joinpath(_TEMPLATE).read_text(encoding="utf-8"))


def _part(part: Part, drawn: Drawn) -> dict[str, Any]:
    """What the template shows of one experiment."""
    key = re.sub(r"\W+", "-", part.name)
    return {
        "name": part.name,
        "key": key,
        "verdicts": verdicts.sentences(part.experiment, part.runs, part.reference),
        "tables": [table for table in part.tables if table.name != "claims"],
        "figures": [_figure(which, f"{key}-{which}", figure) for which, figure in drawn.items()],
        "runs": analysis_tables.runs_table(part.runs),
        "configuration": part.experiment.yaml_path.read_text(encoding="utf-8"),
        "manifest": part.experiment.manifest_path.read_text(encoding="utf-8"),
    }


def _figure(name: str, key: str, figure: Figure) -> dict[str, Any]:
    title = figures.TITLES[name]
    return {"title": title, "svg": Markup(figures.inline_svg(figure, key, title))}
