"""Writes runs for Optuna: a study for each, a trial for every evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.distributions import FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from prunebench.harness.following.points import Point, Written

if TYPE_CHECKING:
    from prunebench.harness.following.follower import Seen

_TEST = "test_accuracy"


class ToolWriter:
    """Studies in a journal file, where a trial takes a thirtieth of the time that it takes in SQLite.

    A trial's parameters are the realised preserve ratios, its value the accuracy on the reward split. A policy above
    the budget violates a constraint, so that it is never a study's best.
    """

    def __init__(self, out: Path) -> None:
        path = out / "optuna.log"
        _drop_torn(path)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._storage = JournalStorage(JournalFileBackend(str(path)))
        self.opened_with = f"optuna-dashboard {path}"

    def written(self, name: str) -> Written:
        """What is there of a run."""
        if name not in optuna.get_all_study_names(self._storage):
            return Written()
        study = optuna.load_study(study_name=name, storage=self._storage)
        return Written([float(trial.value or 0.0) for trial in study.trials], _TEST in study.user_attrs)

    def forget(self, name: str) -> None:
        """Delete a study."""
        optuna.delete_study(study_name=name, storage=self._storage)

    def add(self, name: str, points: Sequence[Point], seen: Seen) -> None:
        """Write points of a run behind those that are there."""
        study = self._study(name)
        preserve = seen.experiment.config.preserve
        study.add_trials([_trial(point, preserve) for point in points])

    def end(self, name: str, test: Point, seen: Seen) -> None:
        """Write the test accuracy, as an attribute of the study."""
        self._study(name).set_user_attr(_TEST, test.scalars[_TEST])

    def _study(self, name: str) -> optuna.Study:
        return optuna.create_study(storage=self._storage, study_name=name, direction="maximize", load_if_exists=True)


def _trial(point: Point, preserve: float) -> optuna.trial.FrozenTrial:
    ratios = {f"layer {number}": ratio for number, ratio in enumerate(point.line.realised)}
    excess = 0.0 if point.line.feasible else max(point.line.cost - preserve, 1e-9)
    return optuna.trial.create_trial(
        params=ratios,
        distributions={name: FloatDistribution(0.0, 1.0) for name in ratios},
        value=point.line.accuracy,
        user_attrs=point.scalars,
        system_attrs={"constraints": [excess]},  # what Optuna's samplers call it; 0 or less is within the budget
    )


def _drop_torn(path: Path) -> None:
    """Cut off a last line that was not written whole, behind which nothing could be read."""
    if path.exists():
        whole = path.read_bytes().rpartition(b"\n")
        with path.open("rb+") as file:
            file.truncate(len(whole[0]) + len(whole[1]))
