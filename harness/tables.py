"""The table of an experiment: for a terminal, for a page (Markdown), for a paper (LaTeX) and for programs (CSV)."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tabulate import tabulate

from envs.task import TaskConfig
from harness import frames, manifest, store
from harness.store import Experiment

FORMATS = ("terminal", "markdown", "csv", "latex")
_FILES = {"markdown": "table.md", "csv": "table.csv", "latex": "table.tex"}
_WIDTH = 110
_DASH = "-"
_COST_NAMES = {"macs": "MACs", "parameters": "parameters"}
_LATENCY = "nanoseconds per image"

Row = Mapping[str, Any]


def _number(decimals: int) -> Callable[[float], str]:
    return lambda value: _DASH if pd.isna(value) else f"{value:.{decimals}f}"


def _mean_std(name: str, decimals: int) -> Callable[[Row], str]:
    number = _number(decimals)

    def cell(row: Row) -> str:
        mean, std = number(row[f"{name}_mean"]), number(row[f"{name}_std"])
        return mean if std == _DASH else f"{mean} ± {std}"

    return cell


def _seeds(row: Row) -> str:
    if pd.isna(row["seeds_asked"]):
        return _DASH
    done, asked = int(row["seeds_done"]), int(row["seeds_asked"])
    return str(done) if done == asked else f"{done} of {asked}"


def _plain(name: str, decimals: int) -> Callable[[Row], str]:
    number = _number(decimals)
    return lambda row: number(row[name])


def _evaluations(row: Row) -> str:
    mean = row["evaluations"]
    return _number(0 if pd.isna(mean) or float(mean).is_integer() else 1)(mean)


class _Column(NamedTuple):
    heading: str  # its lines are joined where a heading has one line only
    short: str  # for a paper, where the caption explains it
    cell: Callable[[Row], str]


_COLUMNS = (
    _Column("\nagent", "agent", lambda row: str(row["agent"])),
    _Column("\nseeds", "seeds", _seeds),
    _Column("evalu-\nations", "evals", _evaluations),
    _Column("reward split\naccuracy, %", "reward, %", _mean_std("reward_accuracy", 2)),
    _Column("var.,\n%²", "var., %²", _plain("reward_accuracy_variance", 2)),
    _Column("test split\naccuracy, %", "test, %", _mean_std("test_accuracy", 2)),
    _Column("MACs\nkept, %", "MACs, %", _plain("macs_kept", 1)),
    _Column("params\nkept, %", "params, %", _plain("parameters_kept", 1)),
    _Column("latency\nkept, %", "latency, %", _plain("latency_kept", 1)),
    _Column("time,\ns", "time, s", _mean_std("seconds", 1)),
    _Column("agent,\ns", "agent, s", _plain("agent_seconds", 1)),
    _Column("eval.,\ns", "eval., s", _plain("evaluation_seconds", 1)),
)
_SHORT_MEANS = (
    "Columns: top-1 accuracy on the reward split (mean, standard deviation and variance) and on the test split; "
    "MACs, parameters and latency kept; wall-clock time, of which the agent's own and that of the evaluations."
)


def render(experiment: Experiment, form: str) -> str:
    """The table in one of :data:`FORMATS`, with its caption and what is missing from it.

    Raises:
        StoreError: a file of the experiment is damaged.
    """
    runs = frames.runs_frame(experiment)
    return _render(experiment, runs, form)


def write(experiment: Experiment) -> None:
    """Rebuild every file in ``tables/`` from the lines on disk."""
    runs = frames.runs_frame(experiment)
    for form, name in _FILES.items():
        store.write_text(experiment.tables_folder / name, _render(experiment, runs, form))
    store.write_text(experiment.tables_folder / "runs.csv", runs.rename(columns=_with_unit).to_csv(index=False))


def _render(experiment: Experiment, runs: pd.DataFrame, form: str) -> str:
    agents = frames.summary(runs)
    table = pd.concat([pd.DataFrame([frames.dense_row(experiment)]), agents])
    if form == "csv":
        return table[agents.columns].rename(columns=_with_unit).to_csv(index=False)
    rows: list[Row] = [dict(row) for row in table.to_dict("records")]  # type: ignore[arg-type]
    return _LAYOUTS[form](rows, caption(experiment), missing(experiment, runs))


def _with_unit(column: str) -> str:
    """A column's name with its unit, where it has one that is not in the name."""
    if column.endswith("_variance"):
        return f"{column}_percent2"
    return f"{column}_percent" if "accuracy" in column or column.endswith("_kept") else column


def caption(experiment: Experiment) -> str:
    """What was measured and how, in one paragraph."""
    config, content = experiment.config, store.read_json(experiment.manifest_path)
    task = content["task"]
    splits = ", ".join(f"{task['splits'][name]} {name}" for name in ("calibration", "reward", "test"))
    seeds = "seed 0" if config.seeds == 1 else f"seeds 0 to {config.seeds - 1}"
    jobs = " or ".join(str(n) for n in sorted({session["jobs"] for session in content["sessions"]}))
    costs = [f"{task['dense'][name]:,} {_COST_NAMES[name]}" for name in _COST_NAMES]
    if config.cost == "latency":
        costs.insert(0, f"{task['latency_ns']:,} {_LATENCY}")
    elif config.cost == "parameters":
        costs.reverse()
    limited, other = costs[0], ", ".join(costs[1:])
    return (
        f"{config.task.model} on {config.task.dataset}: at most {100 * config.preserve:g} % of the dense network's "
        f"{limited} ({other}), budget mode {config.budget}, lower bound {config.lower_bound:g}, "
        f"{_pruning(config.task)}, reward {config.reward}; {config.evaluations} evaluations per run, {seeds}. "
        f"Images: {splits} (split seed {config.task.split_seed}). "
        f"Mean ± standard deviation and variance (n - 1) over the runs that are done, each counting with its incumbent "
        f"on the reward split. Latency is measured on whole networks of the incumbents when all runs have ended. "
        f"{config.threads} thread(s) per run, {jobs} run(s) at a time."
    )


def _pruning(task: TaskConfig) -> str:
    """How networks are pruned, as far as the user has a choice."""
    names = [f"{name} {getattr(task, name)}" for name in ("scope", "importance", "reconstruction")]
    return ", ".join([*names, *([f"device {task.device}"] if task.device != "cpu" else [])])


def missing(experiment: Experiment, runs: pd.DataFrame) -> list[str]:
    """A line for every run that the table leaves out, or that calls for a remark."""
    changed = manifest.changes(store.read_json(experiment.manifest_path))
    remarks = [f"made in several sessions that differ in: {', '.join(changed)} (see manifest.json)"] if changed else []
    for row in runs.to_dict("records"):
        name = f"{row['agent']} seed {row['seed']}"
        if row["status"] == "failed":
            remarks.append(f"{name}: failed after {row['evaluations']} evaluations: {row['error']}")
        elif row["status"] != "done":
            remarks.append(f"{name}: unfinished, {row['evaluations']} of {experiment.config.evaluations} evaluations")
        elif pd.isna(row["incumbent"]):
            remarks.append(f"{name}: no evaluation met the budget")
        if row["remarks"]:
            remarks.append(f"{name}: {row['remarks']}")
        if row["nondeterministic"]:
            remarks.append(
                f"{name}: nondeterministic (a replay differed, {row['nondeterministic']} times; begun afresh)"
            )
    return remarks


def _grid(rows: list[Row]) -> list[list[str]]:
    return [[column.cell(row) for column in _COLUMNS] for row in rows]


def _tabulate(rows: list[Row], form: str, headings: Iterable[str]) -> str:
    sides = ("left", *["right"] * (len(_COLUMNS) - 1))
    return tabulate(_grid(rows), list(headings), tablefmt=form, colalign=sides, disable_numparse=True)


def _terminal(rows: list[Row], text: str, remarks: list[str]) -> str:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for number, column in enumerate(_COLUMNS):
        table.add_column(column.heading, justify="right" if number else "left", no_wrap=True)
    for cells in _grid(rows):
        table.add_row(*map(escape, cells))
    console = Console(width=1000, color_system=None)  # as wide as the table is, also where nobody knows the width
    with console.capture() as capture:
        console.print(table)
    notes = [textwrap.fill(line, _WIDTH) for line in [*remarks, text]]
    lines = [line.rstrip() for line in capture.get().splitlines()]
    return "\n".join([*filter(None, lines), "", *notes, ""])


def _markdown(rows: list[Row], text: str, remarks: list[str]) -> str:
    headings = (column.heading.strip().replace("-\n", "").replace("\n", " ") for column in _COLUMNS)
    notes = [f"- {remark}".replace("<", "&lt;") for remark in remarks]
    safe: list[Row] = [{**row, "agent": str(row["agent"]).replace("|", "\\|")} for row in rows]
    return "\n".join([_tabulate(safe, "pipe", headings), "", text, "", *notes])


def _latex(rows: list[Row], text: str, remarks: list[str]) -> str:
    body = _tabulate(rows, "latex_booktabs", (column.short for column in _COLUMNS))
    notes = " ".join([text, _SHORT_MEANS, *[f"{remark}." for remark in remarks]])
    lines = [
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{_escaped(notes)}}}",
        "\\footnotesize",
        body,
        "\\end{table}",
        "",
    ]
    return "\n".join(lines).replace("±", "$\\pm$").replace("²", "$^2$")


def _escaped(text: str) -> str:
    """Text for LaTeX; a backslash first, or the others would be escaped twice."""
    text = text.replace("\\", "\\textbackslash ")
    for special in "&%$#_{}":
        text = text.replace(special, "\\" + special)
    return text.replace("~", "\\textasciitilde ").replace("^", "\\textasciicircum ")


_LAYOUTS = {"terminal": _terminal, "markdown": _markdown, "latex": _latex}
