"""Checks the results of an experiment, one's own or another's: everything is made again, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.envs.tasks import costs
from prunebench.harness.display import Display, watch
from prunebench.harness.errors import USER_ERRORS
from prunebench.harness.experiments import ahead
from prunebench.harness.processes.local import Function, Job, Processes, cores
from prunebench.harness.record import findings
from prunebench.harness.record.findings import Finding
from prunebench.harness.record.rescored import Checked

if TYPE_CHECKING:
    from prunebench.harness.experiments.config import ExperimentConfig
    from prunebench.harness.record.journal import Line
    from prunebench.harness.record.run_files import Run
    from prunebench.harness.record.status import Status
    from prunebench.harness.record.store import Experiment
    from prunebench.harness.report.recomputed import Recomputed


@dataclass(frozen=True)
class Verified:
    """What became of checking an experiment.

    Attributes:
        folder: the experiment's.
        findings: what is wrong.
        notes: what was not checked, and why, a sentence each.
        summary: what was checked.
        problem: why networks could not be scored again, in one line; None where they were.
    """

    folder: Path
    findings: list[Finding]
    notes: list[str]
    summary: str
    problem: str | None

    @property
    def code(self) -> int:
        """The command's exit code."""
        return 1 if self.findings else 2 if self.problem else 0

    def lines(self) -> list[str]:
        """What the command prints."""
        count = len(self.findings)
        end = f"{count} finding{'' if count == 1 else 's'}" if count else "no findings"
        unverified = [] if self.problem is None else [f"not verified: {self.problem}"]
        return [*map(str, self.findings), *unverified, *self.notes, f"{self.folder}: {end}; {self.summary}"]


def verify(
    experiment: Experiment,
    *,
    data: str | Path | None = None,
    weights: str | Path | None = None,
    device: str | None = None,
    tables: Callable[[Experiment], Recomputed],
    display: Display,
    make_again: Function = "prunebench.harness.inside.verify:make_again",
) -> Verified:
    """Compare what the files of an experiment say with each other, and with what comes out if it is made again.

    Args:
        experiment: finished or not.
        data: where its images are here, if not where they were.
        weights: where the dense network's weights are here, likewise.
        device: where networks run here, if not where they did.
        tables: makes the experiment's tables again and compares them, see :mod:`prunebench.harness.report.recomputed`.
        display: shows progress.
        make_again: runs in a process and returns a :class:`prunebench.harness.record.rescored.Checked`.

    Raises:
        DamagedError: the manifest is not there, or damaged.
        TaskError, ConfigError: there is no such device, or not for these networks.
        JobCrash: it failed for another reason than those told by :attr:`Verified.problem`.
    """
    splits = experiment.manifest()["task"]["splits"]
    runs = [(run, *run.read()) for run in experiment.runs()]
    found = [finding for read in runs for finding in _of_files(*read, splits, experiment.config)]
    located = _located(experiment.on(device), data, weights)
    checked, problem = _made_again(experiment, located, display, make_again)
    if checked is not None and checked.strangers:
        checked, problem = _of_strangers(experiment, checked)
    found += [] if checked is None else checked.all_findings()
    display.step(_TABLES, 0, 1)
    compared = tables(experiment)
    display.end(_TABLES)
    notes = [*_notes(experiment, [status.state for _, status, _ in runs]), *compared.notes]
    if found and compared.findings:
        notes.append("tables were made again of the runs' files as they are: what is altered there makes tables differ")
    return Verified(experiment.folder, [*found, *compared.findings], notes, _summary(checked, compared.files), problem)


def _of_strangers(experiment: Experiment, checked: Checked) -> tuple[Checked, str]:
    """What other weights or data leave to be said, and that they are others."""
    named = " and ".join(finding.field.removeprefix("task.").removesuffix("_sha256") for finding in checked.hashes)
    own = [finding for finding in checked.findings if finding.file != experiment.manifest_path]
    problem = f"the {named} here are not those of {str(experiment.folder)!r}, and not one score is as recorded"
    return replace(checked, hashes=[], findings=own, scores=[], incumbents=0), problem


_TABLES = "making the tables again"


def _of_files(
    run: Run, status: Status, lines: list[Line], splits: dict[str, int], config: ExperimentConfig
) -> Iterator[Finding]:
    if status.state == "damaged":
        file = run.lines_path if str(run.lines_path) in str(status.error) else run.status_path
        yield Finding.of(file, "content", "what was not written", status.error)
    elif status.state == "done":
        yield from findings.of_run(run, status, lines, splits, config)


def _located(experiment: Experiment, data: str | Path | None, weights: str | Path | None) -> Experiment:
    """The experiment with its data and weights where they are here."""
    there = {"data": data, "weights": weights}
    paths: dict[str, Any] = {k: str(Path(v).expanduser().resolve()) for k, v in there.items() if v is not None}
    task = replace(experiment.config.task, **paths)
    return replace(experiment, config=replace(experiment.config, task=task))


def _made_again(
    experiment: Experiment, located: Experiment, display: Display, make_again: Function
) -> tuple[Checked | None, str | None]:
    """What making everything again has shown, or why it could not be done."""
    try:
        located.check_paths()
        config = located.located()
        with Processes(config.threads, ahead.modules()) as processes:
            processes.start_up(watch(display))
            job = Job("verification", make_again, (config, experiment.folder, cores()))
            return processes.call(job, watch(display)), None
    except USER_ERRORS as error:
        return None, str(error)


def _notes(experiment: Experiment, states: list[str]) -> Iterator[str]:
    """What was not checked."""
    undone = sum(state not in ("done", "damaged") for state in states)
    if undone:
        yield f"{undone} of {len(states)} runs are not done: nothing of them was checked"
    if costs.named(experiment.config.cost).measured:
        yield f"policies were not realised again: what a budget of {experiment.config.cost} allows was measured"


def _summary(checked: Checked | None, files: int) -> str:
    """What was made again."""
    parts = [f"{files} files of tables made again"]
    if checked is not None:
        made = f"{checked.evaluations:,} policies realised and {checked.incumbents} incumbents scored again"
        parts = [made, *parts, *([checked.in_words()] if checked.scores else [])]
    return ", ".join(parts[:2]) + "".join(f"; {part}" for part in parts[2:])
