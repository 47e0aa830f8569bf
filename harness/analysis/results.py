"""Results of experiments: every file is read once, and every number is computed once, when it is first asked for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prunebench.harness.analysis import anytime, comparison, description, frames, images, sequential, several, verdicts
from prunebench.harness.analysis.claims import findings, published, read, sha256
from prunebench.harness.analysis.comparison import HEADLINE, Best
from prunebench.harness.analysis.frames import Reading
from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments import spoken
from prunebench.harness.record import joined

if TYPE_CHECKING:
    from prunebench.harness.analysis.several import Scores
    from prunebench.harness.experiments.agentspec import AgentSpec
    from prunebench.harness.record.store import Experiment


class Results:
    """The numbers of one or several experiments.

    Args:
        experiments: at least one, finished or not. Those of one task count as one, and a run in several of them once.
        reference: the agent that others are compared with; see
            :func:`prunebench.harness.analysis.comparison.reference_agent`.
        targets: accuracies (%) to be reached, besides those of the controls.
        claims: a file of claims that take the place of the published ones.
        seeds: of the runs that count, as at a look; None for all.

    Raises:
        ConfigError: a target is no accuracy, the claims cannot be read, an experiment has no run of these seeds, or
            copies of a run in two experiments contradict each other.
        TaskError: when comparisons are asked for: there is no such reference agent in any of the experiments.
        StoreError: a file of an experiment is damaged; most are read when numbers are first asked for.
    """

    def __init__(
        self,
        experiments: Sequence[Experiment],
        reference: str | None = None,
        targets: Sequence[float] = (),
        claims: Path | None = None,
        seeds: Collection[int] | None = None,
    ) -> None:
        for target in targets:
            if not 0 < target <= 100:
                raise ConfigError(f"target {target:g}: expected an accuracy in per cent, above 0 and at most 100")
        self.seeds, self.targets = seeds, targets
        self.whole = joined.together(experiments)
        self.experiments = [experiment.of_seeds(seeds) for experiment in self.whole]
        self._wanted = reference
        self.claims_file = claims
        self.claims = published() if claims is None else read(claims)
        self.claims_sha256 = "" if claims is None else sha256(claims)
        self.best = cache(self._best)

    @cached_property
    def readings(self) -> dict[str, Reading]:
        """The experiments by the names of their tasks."""
        configs = [experiment.config for experiment in self.experiments]
        unsplit = [replace(config, task=replace(config.task, split_seed=0)) for config in configs]
        named = zip(self.experiments, spoken.names(configs), spoken.names(unsplit, same=True), strict=True)
        return {name: Reading(experiment, name, setting) for experiment, name, setting in named}

    @cached_property
    def runs(self) -> pd.DataFrame:
        """The rows of :attr:`prunebench.harness.analysis.frames.Reading.runs` of all experiments."""
        return pd.concat([reading.runs for reading in self.readings.values()], ignore_index=True)

    @cached_property
    def agents(self) -> list[str]:
        """The agents, in order."""
        return comparison.agents_of(self.runs)

    @cached_property
    def specs(self) -> list[AgentSpec]:
        """The agents with their options, each once, in order."""
        specs = (agent for experiment in self.experiments for agent in experiment.config.agents)
        return list({agent.label: agent for agent in specs}.values())

    @cached_property
    def reference(self) -> str:
        """The agent that others are compared with."""
        return comparison.reference_agent(self.runs, self._wanted)

    @cached_property
    def parts(self) -> list[Results]:
        """Every experiment alone, by its name beside the others; the reference as far as it took part."""
        return [self] if len(self.experiments) == 1 else [self._part(name) for name in self.readings]

    def _part(self, name: str) -> Results:
        reading, runs = self.readings[name], self.runs[self.runs["task"] == name]
        part = Results([reading.experiment], self._wanted, self.targets, self.claims_file, self.seeds)
        part.readings, part.runs = {name: reading}, runs
        part.reference = comparison.own_reference(runs, self.reference)
        return part

    @cached_property
    def description(self) -> pd.DataFrame:
        """Of :func:`prunebench.harness.analysis.description.describe`."""
        return description.describe(self.runs)

    @cached_property
    def differences(self) -> pd.DataFrame:
        """Of :func:`prunebench.harness.analysis.comparison.differences`; where looks were fixed, as these decided."""
        if len(self.experiments) == 1 and self.experiments[0].config.looks:
            return sequential.differences(self.runs, self.experiments[0].config.looks, self.reference)
        return comparison.differences(self.runs[self.runs["task"].isin(self.pooled)], self.reference)

    @cached_property
    def pooled(self) -> list[str]:
        """The tasks that count together: those with scores, where there are two; of others all."""
        return self._scored if len(self._scored) > 1 else list(self.readings)

    @cached_property
    def _scored(self) -> list[str]:
        """The tasks whose accuracies count in claims on several, where there are any."""
        return self.scores.tasks if len(self.readings) > 1 else list(self.readings)

    @cached_property
    def matrix(self) -> pd.DataFrame:
        """Of :func:`prunebench.harness.analysis.several.matrix`."""
        return several.matrix(self.runs)

    @cached_property
    def components(self) -> pd.DataFrame:
        """Of :func:`prunebench.harness.analysis.description.components`."""
        return description.components(self.runs)

    @cached_property
    def findings(self) -> pd.DataFrame:
        """Of :func:`prunebench.harness.analysis.claims.findings`."""
        return findings(self.claims, self.readings, self.runs, self._scored)

    @cached_property
    def tradeoff(self) -> pd.DataFrame:
        """Of :func:`prunebench.harness.analysis.several.tradeoff`."""
        return several.tradeoff(self.readings.values(), self.runs)

    @cached_property
    def scores(self) -> Scores:
        """Of :func:`prunebench.harness.analysis.several.scores`."""
        return several.scores(self.readings, self.runs)

    @cached_property
    def joint_verdicts(self) -> list[str]:
        """The first thing that a report says of several tasks."""
        return verdicts.joint(self.differences, self.pooled, self.scores, several.summary(self.scores.frame))

    # What follows is of one experiment alone: of one of the parts.

    @cached_property
    def reading(self) -> Reading:
        """The experiment as it was read."""
        (reading,) = self.readings.values()
        return reading

    @property
    def experiment(self) -> Experiment:
        """The experiment."""
        return self.reading.experiment

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Of :func:`prunebench.harness.analysis.frames.summary`."""
        return frames.summary(self.runs)

    def _best(self, column: str = HEADLINE) -> Best:
        return comparison.best(self.runs, column, self.differences if column == HEADLINE else None)

    @cached_property
    def variances(self) -> pd.DataFrame:
        """Of :func:`prunebench.harness.analysis.comparison.variances`."""
        return comparison.variances(self.runs, self.reference)

    @cached_property
    def images(self) -> pd.DataFrame:
        """Of :func:`prunebench.harness.analysis.images.table`."""
        return images.table(self.reading, self.reference)

    @cached_property
    def finished(self) -> pd.DataFrame:
        """The evaluations of the runs that are done."""
        return anytime.finished(self.runs, self.reading.evaluations)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Every finished run's incumbent after 1, 2, ... evaluations."""
        return anytime.by_evaluations(self.finished, self.experiment.config.search_evaluations)

    @cached_property
    def by_evaluations(self) -> pd.DataFrame:
        """Every agent's mean incumbent and its interval over evaluations."""
        return anytime.mean_interval(self.curves)

    @cached_property
    def by_seconds(self) -> pd.DataFrame:
        """Every agent's mean incumbent and its interval over the seconds of the search."""
        return anytime.mean_interval(anytime.by_seconds(self.finished, anytime.seconds_grid(self.finished)))

    @cached_property
    def anytime(self) -> pd.DataFrame:
        """Of :func:`prunebench.harness.analysis.anytime.table`."""
        labels = [agent.label for agent in self.experiment.config.agents]
        return anytime.table(labels, self.finished, self.curves, anytime.targets(self.finished, self.targets))

    @cached_property
    def confirmed(self) -> pd.DataFrame:
        """Of :func:`prunebench.harness.analysis.description.confirmed`."""
        return description.confirmed(self.reading)

    @cached_property
    def seconds(self) -> pd.DataFrame:
        """Of :func:`prunebench.harness.analysis.frames.seconds`."""
        return frames.seconds(self.runs)

    @cached_property
    def front(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of :func:`prunebench.harness.analysis.frames.front`."""
        return frames.front(self.reading.evaluations)

    @cached_property
    def verdicts(self) -> list[str]:
        """The first thing that a report says of the experiment."""
        confirms = self.experiment.config.task.confirm > 0
        return verdicts.sentences(self.runs, self.reading.dense, self.differences, self.best(), confirms)
