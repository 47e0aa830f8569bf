"""Makes again what an experiment's files say: the dense network, every policy as realised, every incumbent's score."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from prunebench.envs.environment.channel_pruning import ChannelPruningEnv, FinalScore, Score
from prunebench.envs.tasks import costs, preparation
from prunebench.envs.tasks.keys import METHOD
from prunebench.harness.errors import ConfigError
from prunebench.harness.inside.prepare import Report, make_environment, set_threads
from prunebench.harness.record.findings import Finding, line_field
from prunebench.harness.record.journal import Line, incumbent
from prunebench.harness.record.rescored import Checked, Rescored
from prunebench.harness.record.store import Experiment

if TYPE_CHECKING:
    from prunebench.envs.evaluation.evaluator import Evaluator
    from prunebench.harness.experiments.config import ExperimentConfig
    from prunebench.harness.record.run_files import Run
    from prunebench.harness.record.status import Status

_ROUNDING = 1e-9  # relative, of what is computed from channel counts in floating point
_THREADS = 1e-6  # relative, by which their number may move a loss
_HASHES = ("weights_sha256", "network_sha256", "data_sha256")
# Scores and method are looked at apart; the others are the machine's, in a version's words, or of where weights are.
_LEFT = ("dense", "method", "fused", "left_out", "network_version", "reward_maybe_seen")
_REALISED = ("channels", "realised", "macs", "parameters", "cost", "feasible", "reward")


def make_again(report: Report, config: ExperimentConfig, folder: Path, threads: int) -> Checked:
    """Prepare a task, and make again what the files of an experiment say of networks and policies.

    Args:
        report: see :mod:`prunebench.envs.progress`.
        config: the experiment's configuration, with paths as they are here.
        folder: the experiment's.
        threads: may be used while the task is prepared.

    Raises:
        ConfigError: policies were scored in another way then.
        TaskError: weights or data cannot be used.
    """
    experiment, found = Experiment(folder, config), Checked()
    says = experiment.manifest()["task"]
    _check_method(folder, says.get("method", 1))
    set_threads(threads)
    facts = json.loads(json.dumps(preparation.prepare(config.task, report)))
    set_threads(config.threads)
    _check_facts(found, experiment.manifest_path, says, facts)
    measured = costs.named(config.cost).measured  # such a cost is the machine's: what it allows is not known here
    env = None if measured else cast(ChannelPruningEnv, make_environment(config).unwrapped)
    scorer = _Scorer(preparation.load_evaluator(config.task), facts["splits"])
    runs = [run for run in experiment.runs() if run.checked().state == "done"]
    for number, run in enumerate(runs):
        report("checking the runs", number, len(runs))
        _check_run(found, run, env, scorer)
    report("checking the runs", len(runs), len(runs))
    return found


def _check_method(folder: Path, method: int) -> None:
    if method != METHOD:
        raise ConfigError(
            f"{str(folder)!r} was made by a version of prunebench that scores policies in another way (method "
            f"{method}, now {METHOD}): have it verified by that version"
        )


def _check_facts(found: Checked, file: Path, says: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """What the manifest says of the task; what an older version did not write yet is passed over."""
    for key in (key for key in facts if key in says and key not in _LEFT):
        if says[key] != facts[key]:
            kind = found.hashes if key in _HASHES else found.findings
            kind.append(Finding.of(file, f"task.{key}", says[key], facts[key]))
    before, now = says["dense"], facts["dense"]
    for key in ("macs", "parameters"):
        if before[key] != now[key]:
            found.findings.append(Finding.of(file, f"task.dense.{key}", before[key], now[key]))
    for split in ("reward", "test", *(["confirm"] if "confirm" in facts["splits"] else [])):
        one, other = (_dense_score(part, split) for part in (before, now))
        found.scores.append(Rescored(file, f"task.dense.{split}_", facts["splits"][split], one, other, _THREADS))


def _dense_score(dense: Mapping[str, Any], split: str) -> FinalScore:
    loss, hits = dense.get(f"{split}_loss", math.nan), dense.get(f"{split}_hits")
    return FinalScore(dense[f"{split}_accuracy"], loss, hits)


class _Scorer:
    """Scores each policy once: runs of a deterministic agent end with the same one."""

    def __init__(self, evaluator: Evaluator, images: Mapping[str, int]) -> None:
        self.score, self.test = cache(evaluator.score), cache(evaluator.test)
        self.confirm = cache(evaluator.confirm)
        self.dense, self.images = list(evaluator.dense), images

    def can_build(self, channels: Sequence[int]) -> bool:
        """Whether there is a network with so many channels."""
        if len(channels) != len(self.dense):
            return False
        return all(1 <= some <= every for some, every in zip(channels, self.dense, strict=True))


def _check_run(found: Checked, run: Run, env: ChannelPruningEnv | None, scorer: _Scorer) -> None:
    """A run's lines as the environment realises them, where that can be computed, and its incumbent's scores."""
    lines = run.lines()
    channels = {line.index: line.channels for line in lines}
    if env is not None:
        for line in lines:
            channels[line.index] = _realise(found, run, line, env)
        found.evaluations += len(lines)
    status = run.status()
    if (best := incumbent(lines, status.confirmed)) is not None:
        _check_incumbent(found, run, status, best, channels[best.index], scorer)
    if "confirm" in scorer.images:
        _check_confirmed(found, run, status, channels, scorer)


def _check_confirmed(
    found: Checked, run: Run, status: Status, channels: Mapping[int, Sequence[int]], scorer: _Scorer
) -> None:
    """All confirmed policies: together they decide which of them is the incumbent."""
    for number, once in enumerate(status.confirmed):
        if scorer.can_build(policy := channels[once.evaluation]):
            says, scored = FinalScore(once.accuracy, once.loss), FinalScore(*scorer.confirm(tuple(policy)))
            images, field = scorer.images["confirm"], f"confirmed[{number}]."
            found.scores.append(Rescored(run.status_path, field, images, says, scored))


def _realise(found: Checked, run: Run, line: Line, env: ChannelPruningEnv) -> list[int]:
    """The channels that the environment makes of a requested policy; of what follows from them, what differs is found.

    What was recorded is put into the environment's memory, so that nothing is scored unless the channels are others.
    """
    env.memory = {tuple(line.channels): Score(line.accuracy, line.loss)}
    try:
        evaluation = _asked(env, line)
    except ValueError as error:
        found.findings.append(Finding.of(run.lines_path, line_field(line, "requested"), line.requested, error))
        return line.channels
    for name in _REALISED:
        if not _alike(getattr(line, name), evaluation[name]):
            field = line_field(line, name)
            found.findings.append(Finding.of(run.lines_path, field, getattr(line, name), evaluation[name]))
    return cast("list[int]", evaluation["channels"])


def _asked(env: ChannelPruningEnv, line: Line) -> dict[str, Any]:
    """The evaluation of a requested policy; raises ValueError where it is none of this network."""
    _, info = env.reset(options={"budget": "none"} if line.probe else None)
    layers = len(info["layers"]["name"])
    if len(line.requested) != layers:
        raise ValueError(f"a network with {layers} prunable layers")
    for ratio in line.requested:
        *_, last = env.step(np.array([ratio]))
    return cast("dict[str, Any]", last["evaluation"])


def _alike(one: Any, other: Any) -> bool:
    """Whether two values, or lists of them, are equal but for rounding."""
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    return math.isclose(one, other, rel_tol=_ROUNDING) if isinstance(one, float) else bool(one == other)


def _check_incumbent(
    found: Checked, run: Run, status: Status, best: Line, channels: Sequence[int], scorer: _Scorer
) -> None:
    if not scorer.can_build(channels):
        found.findings.append(Finding.of(run.lines_path, line_field(best, "channels"), channels, scorer.dense))
        return
    found.incumbents += 1
    scored = FinalScore(*scorer.score(tuple(channels)))
    says = FinalScore(best.accuracy, best.loss)
    found.scores.append(Rescored(run.lines_path, line_field(best, ""), scorer.images["reward"], says, scored))
    if (test := status.test) is not None:
        again = scorer.test(tuple(channels))
        says = FinalScore(test.accuracy, test.loss, test.hits)
        found.scores.append(Rescored(run.status_path, "test.", scorer.images["test"], says, again))
