"""Writes runs for MLflow: into a database of SQLite, a run for each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when it is imported: nothing is reported to anybody
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from prunebench.harness.following.points import Point, Written

if TYPE_CHECKING:
    from prunebench.harness.following.follower import Seen

_TAG = "prunebench.run"
_AT_ONCE = 50  # points: MLflow takes a thousand numbers at most


class ToolWriter:
    """A run of MLflow for every run; a tag has its name."""

    def __init__(self, out: Path) -> None:
        address = f"sqlite:///{out.resolve() / 'mlflow.db'}"
        self._artifacts = (out.resolve() / "artifacts").as_uri()
        self._client = MlflowClient(tracking_uri=address)
        self._ids: dict[str, str] = {}
        self.opened_with = f"mlflow ui --backend-store-uri {address}"

    def written(self, name: str) -> Written:
        """What is there of a run."""
        experiment = self._client.get_experiment_by_name(_experiment(name))
        if experiment is None:
            return Written()
        found = self._client.search_runs([experiment.experiment_id], f"tags.`{_TAG}` = '{name}'")
        if not found:
            return Written()
        (run,) = found
        self._ids[name] = run.info.run_id
        history = sorted(self._client.get_metric_history(run.info.run_id, "accuracy"), key=lambda metric: metric.step)
        return Written([metric.value for metric in history], "test_accuracy" in run.data.metrics)

    def forget(self, name: str) -> None:
        """Delete a run."""
        self._client.delete_run(self._ids.pop(name))

    def add(self, name: str, points: Sequence[Point], seen: Seen) -> None:
        """Write points of a run behind those that are there."""
        run = self._ids.get(name) or self._begin(name, seen)
        for first in range(0, len(points), _AT_ONCE):
            self._client.log_batch(
                run, metrics=[m for point in points[first : first + _AT_ONCE] for m in _metrics(point)]
            )

    def end(self, name: str, test: Point, seen: Seen) -> None:
        """Write the test accuracy, and that the run is finished."""
        self.add(name, [test], seen)
        self._client.set_terminated(self._ids[name])

    def _begin(self, name: str, seen: Seen) -> str:
        known = self._client.get_experiment_by_name(_experiment(name))
        key = known.experiment_id if known else self._client.create_experiment(_experiment(name), self._artifacts)
        run = self._client.create_run(key, run_name=seen.run.name, tags={_TAG: name}).info.run_id
        config = seen.experiment.config
        told = {
            "agent": seen.run.agent,
            "seed": seen.run.seed,
            "network": config.task.model,
            "preserve": config.preserve,
        }
        self._client.log_batch(run, params=[Param(key, str(value)) for key, value in told.items()])
        self._ids[name] = run
        return run


def _experiment(name: str) -> str:
    """The name of a run without agent and seed."""
    return name.rsplit("/", 2)[0]


def _metrics(point: Point) -> list[Metric]:
    at = int(1000 * point.time)
    return [Metric(name, value, at, point.step) for name, value in point.scalars.items()]
