"""After the search: one run's pruned network as files of its own, checked and timed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunebench.envs import extras
from prunebench.envs.errors import check_choice
from prunebench.envs.files import draft_of
from prunebench.harness.display import Display, watch
from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments import ahead, spoken
from prunebench.harness.experiments.agentspec import folder_name
from prunebench.harness.processes.local import Function, Job, Processes
from prunebench.harness.record.incumbents import finished, incumbent
from prunebench.harness.record.journal import rank

if TYPE_CHECKING:
    from prunebench.harness.record.run_files import Run
    from prunebench.harness.record.store import Experiment


@dataclass(frozen=True)
class Exported:
    """An exported network: the run it is from, its folder, and what ``network.json`` says of it."""

    run: Run
    folder: Path
    facts: dict[str, Any]

    def lines(self) -> list[str]:
        """What the command prints."""
        facts, dense = self.facts, self.facts["dense"]
        accuracy, onnx = facts["accuracy"], facts["onnx"]
        test = accuracy["finetuned_test"] or accuracy["test"]
        rows = [
            ("weights", _WEIGHTS[facts["weights"]]),
            ("MACs", _share(facts["macs"], dense["macs"])),
            ("parameters", _share(facts["parameters"], dense["parameters"])),
            ("test split", f"{_percent(test['accuracy'])}, dense {_percent(dense['test_accuracy'])}"),
            ("latency", _latency(facts["latency"])),
            ("ONNX", f"largest difference of an output {onnx['largest_difference']:.2g} ({onnx['images']} images)"),
        ]
        return [f"{self.run.name}: {self.folder}", *(f"{name:<11} {text}" for name, text in rows)]


_WEIGHTS = {"fine-tuned": "fine-tuned", "pruned": "as pruned; `prunebench finetune` was not run for it"}


def export(
    experiment: Experiment,
    *,
    agent: str | None = None,
    seed: int | None = None,
    out: Path | None = None,
    display: Display,
    work: Function = "prunebench.harness.inside.export:export_one",
) -> Exported:
    """Write the network of one run into a folder, fine-tuned where it has been, and measure its latency.

    Args:
        experiment: whose run.
        agent: the agent's label; None leaves the choice to the accuracy on the reward split.
        seed: the run's seed; None is that of the best run.
        out: the folder; None is ``export/<agent>-seed-<k>`` in the experiment's.
        display: shows progress.
        work: writes the files, in a process.

    Raises:
        HarnessError, TaskError: the user can mend it; nothing was written.
        JobCrash: it failed for another reason; nothing was written.
    """
    extras.check("the export to ONNX", "export")
    experiment.check_paths()
    run = choose(experiment, agent, seed)
    folder = out or experiment.folder / "export" / f"{folder_name(run.agent)}-seed-{run.seed}"
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfigError(f"out {str(folder)!r} exists: expected a new or an empty folder")
    draft = draft_of(folder)
    job = Job(
        "export",
        work,
        (experiment.located(), experiment.folder, run.agent, run.seed, draft),
    )
    made = _missing_parents(folder)
    try:
        with Processes(experiment.config.threads, ahead.modules()) as processes:
            facts = processes.call(job, watch(display))
        draft.replace(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        for parent in made:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
        raise
    return Exported(run, folder, facts)


def choose(experiment: Experiment, agent: str | None, seed: int | None) -> Run:
    """The finished run of an agent and a seed; of several the best on the reward split: accuracy, then loss.

    Raises:
        TaskError: there is no such agent.
        ConfigError: there is no such seed, or no such run is finished.
    """
    if agent is not None:
        check_choice("agent", agent, [spec.label for spec in experiment.config.agents])
    known = {run.seed for run in experiment.runs()}
    if seed is not None and seed not in known:
        raise ConfigError(f"seed {seed}: expected one of {spoken.ranges(known)}")
    runs = [run for run in finished(experiment) if agent in (None, run.agent) and seed in (None, run.seed)]
    if not runs:
        asked = [f"agent {agent!r}" if agent is not None else "", f"seed {seed}" if seed is not None else ""]
        raise ConfigError(f"{' '.join(filter(None, asked))}: expected a finished run with an incumbent, there is none")
    lines = [incumbent(run) for run in runs]
    best = min(range(len(runs)), key=lambda number: (*rank(lines[number])[:-1], number))
    return runs[best]


def _missing_parents(folder: Path) -> list[Path]:
    """The folders above one that are not there yet, the innermost first."""
    return [parent for parent in folder.parents if not parent.exists()]


def _share(value: int, dense: int) -> str:
    return f"{value:,}  {_percent(value / dense, 1)} of the dense network's"


def _latency(latency: dict[str, Any]) -> str:
    def per_image(quartiles: list[float]) -> tuple[str, ...]:
        return tuple(_three_digits(1e3 * seconds / latency["images"]) for seconds in quartiles)

    low, middle, high = per_image(latency["seconds"])
    dense_low, dense_middle, dense_high = per_image(latency["dense_seconds"])
    kept = _percent(latency["seconds"][1] / latency["dense_seconds"][1], 1)
    return f"{middle} ms per image (IQR {low}-{high}), dense {dense_middle} ms ({dense_low}-{dense_high}): {kept}"


def _percent(fraction: float, digits: int = 2) -> str:
    return f"{100 * fraction:.{digits}f} %"


def _three_digits(value: float) -> str:
    return f"{value:#.3g}".rstrip(".") if value < 999.5 else f"{value:,.0f}"
