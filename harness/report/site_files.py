"""A static site about many experiments: one sortable table, a report for every network, and what can be downloaded."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from markupsafe import Markup

from prunebench.envs.tasks import costs
from prunebench.harness.analysis.results import Results
from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments import config as configs
from prunebench.harness.files import write_text
from prunebench.harness.report import templates
from prunebench.harness.report.figures import figure_list
from prunebench.harness.report.figures.figure_tradeoff import TRADEOFF
from prunebench.harness.report.tables import table_agents, tabular
from prunebench.harness.report.tables.latex import latex
from prunebench.harness.report.tables.tabular import Column, Table, text

if TYPE_CHECKING:
    from prunebench.harness.record.store import Experiment

Report = tuple[str, dict[str, dict[str, str]]]
"""The HTML of a report, and by task what the files of its tables hold."""
INDEX = "index.html"
_DATA = "data"
_MARK = '<meta name="generator" content="prunebench site">'
_TEMPLATE = "site.html.jinja"
_NETWORK = Column("network", "network", "network", text("network"), left=True)
_LIMIT = Column("limit", "budget", "budget", text("limit"), left=True)
_MORE = (
    Column("dataset", "data", "data", text("dataset"), left=True),
    Column("verified", "verified", "verified", text("verified"), left=True),
)
_LEFT_OUT = ("variance", "reward", "agent_time", "evaluation_time")
"""Columns of the table of agents that only the downloads and the reports have."""
_CAPTION = (
    "Every agent of every experiment, beside the dense network: mean over its seeds. Verified, all: policies, scores, "
    "files and tables were made again and are as recorded; partly: files and tables, since networks could not be "
    "scored again where this page was made."
)
_WHOLE, _PARTLY = "all", "partly"


@dataclass(frozen=True)
class Entry:
    """An experiment of the site, and what became of verifying it.

    Attributes:
        experiment: finished or not.
        whole: whether everything was made again; files and tables are for every entry.
        told: what was verified and what was not, a sentence each.
    """

    experiment: Experiment
    whole: bool
    told: Sequence[str]


def check(out: Path) -> None:
    """Raise ConfigError unless a site can be written there: into a new or an empty folder, or over an earlier one."""
    if out.is_file():
        raise ConfigError(f"out {str(out)!r} is a file: expected a folder")
    if out.is_dir() and any(out.iterdir()) and not _ours(out / INDEX):
        raise ConfigError(f"out {str(out)!r} holds something else: expected a new or an empty folder, or an older site")


def write(
    entries: Sequence[Entry],
    left_out: Sequence[Path],
    out: Path,
    report_of: Callable[[Results], Report],
) -> Path:
    """Write the site; nothing is written into the experiments, and what it had before and has no more is removed.

    Args:
        entries: at least one.
        left_out: folders of experiments that are not shown, since what verifying found is wrong with them.
        out: its folder, see :func:`check`.
        report_of: makes the report of a network's experiments, see :func:`prunebench.harness.report.page.rendered`.

    Returns:
        Its first page.

    Raises:
        ConfigError: the folder holds something else.
        StoreError: a file of an experiment is damaged.
    """
    check(out)
    files = _files(entries, left_out, report_of)
    for path in (path for path in out.glob("*.html") if _ours(path)):
        if path.name not in files:
            path.unlink()
    shutil.rmtree(out / _DATA, ignore_errors=True)
    for name, content in sorted(files.items(), key=lambda item: item[0] == INDEX):  # the first page comes last
        write_text(out / name, content)
    return out / INDEX


def _ours(path: Path) -> bool:
    return path.is_file() and _MARK in path.read_text(encoding="utf-8", errors="replace")[:1000]


def _files(
    entries: Sequence[Entry], left_out: Sequence[Path], report_of: Callable[[Results], Report]
) -> dict[str, str]:
    """By name what every file of the site holds."""
    results = Results([entry.experiment for entry in entries])
    table = _table(results, entries)
    found = {f"{_DATA}/table.csv": tabular.csv(table), f"{_DATA}/table.tex": latex(table)}
    networks = []
    for network, own in _by_network(entries).items():
        report, tables = report_of(Results([entry.experiment for entry in own]))
        key = _slug(network)
        files = {
            task: {f"{_DATA}/{key}/{_slug(task)}/{name}": of_it for name, of_it in texts.items() if _offered(name)}
            for task, texts in tables.items()
        }
        experiments = [_shown(entry, f"{_DATA}/{key}/{name}") for entry, name in zip(own, _names(own), strict=True)]
        found[f"{key}.html"] = report.replace("<head>", f"<head>\n{_MARK}", 1)
        found |= {name: content for texts in files.values() for name, content in texts.items()}
        found |= {shown["file"]: shown.pop("settings") for shown in experiments}
        networks.append({"name": network, "file": f"{key}.html", "tasks": files, "experiments": experiments})
    return found | {INDEX: _index(results, table, networks, len(entries), left_out)}


def _offered(name: str) -> bool:
    return Path(name).suffix in (".csv", ".tex", ".bib")


def _by_network(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.experiment.config.task.model, []).append(entry)
    return found


def _slug(name: str) -> str:
    """A name as a part of an address."""
    return re.sub(r"[^\w.]+", "-", name).strip("-.") or "-"


def _names(entries: Sequence[Entry]) -> list[str]:
    """A name for each experiment: its folder's, with those above it as far as they tell it from the others."""
    folders = [entry.experiment.folder.resolve() for entry in entries]
    above = Path(os.path.commonpath([folder.parent for folder in folders]))
    return [_slug("-".join(folder.relative_to(above).parts)) for folder in folders]


def _shown(entry: Entry, place: str) -> dict[str, Any]:
    """What the first page says of an experiment."""
    name = Path(place).name
    return {
        "name": name,
        "file": f"{place}.yaml",
        "verified": _verified([entry]),
        "settings": entry.experiment.yaml_path.read_text(encoding="utf-8"),
        "told": entry.told,
        "command": configs.read_yaml(entry.experiment.yaml_path)[1],
        "remake": f"prunebench bench {name}.yaml --out {name}",
    }


def _verified(entries: Sequence[Entry]) -> str:
    return _WHOLE if all(entry.whole for entry in entries) else _PARTLY


def _table(results: Results, entries: Sequence[Entry]) -> Table:
    """The table of all agents, with a column for each thing that tells experiments apart."""
    made = table_agents.table(results)
    by_folder = {entry.experiment.folder: entry for entry in entries}
    said: dict[str, dict[str, Any]] = {}
    for task, reading in results.readings.items():
        config = reading.experiment.config
        said[task] = {
            "network": config.task.model,
            "dataset": config.task.dataset,
            "limit": f"{100 * config.preserve:g} % of {costs.named(config.cost).label}",
            "verified": _verified([by_folder[folder] for folder in reading.experiment.folders]),
        }
    names = [row["task"] for row in made.rows]
    where = pd.DataFrame([said[name] for name in names])
    frame = pd.concat([pd.Series(names, name="task"), where, made.frame.drop(columns="task", errors="ignore")], axis=1)
    columns = [column for column in made.columns if column.key not in ("task", *_LEFT_OUT)]
    several = len(said) > 1
    return replace(
        made,
        title="All experiments",
        columns=[_NETWORK, _LIMIT, *columns, *_MORE],
        rows=[{**row, **said[row["task"]]} for row in made.rows],
        frame=frame.rename(columns={"limit": "budget"}),
        caption=_CAPTION,
        group="network" if several else "",
        label="tab:prunebench",
    )


def _index(
    results: Results, table: Table, networks: Sequence[dict[str, Any]], experiments: int, left_out: Sequence[Path]
) -> str:
    figures = figure_list.draw(results) if len(results.parts) > 1 else {}
    return templates.template(_TEMPLATE).render(
        title=f"Auto-pruning agents on {len(networks)} network{'' if len(networks) == 1 else 's'}",
        mark=Markup(_MARK),
        verdicts=results.joint_verdicts if len(results.parts) > 1 else results.verdicts,
        table=table,
        data=_DATA,
        links={network["name"]: network["file"] for network in networks},
        figures=templates.figures(figures, figure_list.DRAWINGS, "s"),
        traded=TRADEOFF.name in figures,
        networks=networks,
        experiments=experiments,
        left_out=left_out,
    )
