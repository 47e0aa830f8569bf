"""Published claims (``claims.yaml``) against what was measured here."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatch
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from prunebench.harness.analysis import claim_rules, comparison
from prunebench.harness.analysis.claim_rules import NOT_TESTED, Finding
from prunebench.harness.analysis.statistics.inference import ALPHA
from prunebench.harness.errors import ConfigError, plain_line

if TYPE_CHECKING:
    from prunebench.harness.analysis.frames import Reading

_STRICT = ConfigDict(extra="forbid", frozen=True)


class Where(BaseModel):
    """Which experiments can test a claim."""

    model_config = _STRICT
    models: tuple[str, ...] = ("*",)
    datasets: tuple[str, ...] = ("*",)
    preserve: float | None = None
    layers: int = 1

    def missing(self, reading: Reading) -> str | None:
        """What an experiment lacks; None where it can test the claim."""
        config = reading.experiment.config
        layers = reading.manifest["task"]["layers"]
        if not any(fnmatch(config.task.model, pattern) for pattern in self.models):
            return f"needs the network {' or '.join(self.models)}"
        if not any(fnmatch(config.task.dataset, pattern) for pattern in self.datasets):
            return f"needs the data set {' or '.join(self.datasets)}"
        if self.preserve is not None and not math.isclose(config.preserve, self.preserve):
            return f"needs preserve {self.preserve:g}"
        if layers < self.layers:
            return f"needs a network of at least {self.layers} prunable layers, this has {layers}"
        return None


Accuracy = Literal["test_accuracy", "reward_accuracy", "finetuned_accuracy"]
"""Columns of the runs, in per cent."""


class _Pair(BaseModel):
    """One agent against another, and what matters."""

    model_config = _STRICT
    column: Accuracy | Literal["seconds"]
    agent: str
    reference: str
    expect: Literal["lower"]
    relevant: float = Field(gt=0, lt=1)
    level: float = Field(default=ALPHA, gt=0, le=ALPHA)

    @property
    def smallest(self) -> float:
        """The smallest effect that matters, in the unit that is tested: a logarithm."""
        return _saved(self.relevant)

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.agent == self.reference:
            raise ValueError("agent and reference are the same")
        return self


class Difference(_Pair):
    """One agent's values are higher, or lower, than another's, by what matters."""

    kind: Literal["difference"]
    expect: Literal["higher", "lower"]  # type: ignore[assignment]
    relevant: float = Field(gt=0)

    @property
    def smallest(self) -> float:
        """The smallest effect that matters: points, of seconds a logarithm."""
        return super().smallest if self.column == "seconds" else self.relevant

    @model_validator(mode="after")
    def _share(self) -> Self:
        if self.column == "seconds" and self.relevant >= 1:
            raise ValueError("relevant: of seconds expected a share below 1, as 0.05")
        return self


class Variance(_Pair):
    """One agent's values vary less than another's."""

    kind: Literal["variance"]


class Target(_Pair):
    """One agent needs less time than another to an accuracy on the reward split that every run of both reaches."""

    kind: Literal["target"]
    column: Literal["seconds"]


def _saved(share: float) -> float:
    """The logarithm of the factor by which something is less that lacks such a share."""
    return -math.log1p(-share)


class Value(BaseModel):
    """One agent's mean is the published figure, or reaches it."""

    model_config = _STRICT
    kind: Literal["value"]
    column: Accuracy
    agent: str
    published: tuple[Annotated[float, Field(allow_inf_nan=False)], Annotated[float, Field(allow_inf_nan=False)]]
    expect: Literal["equals", "reaches"]


class Claim(BaseModel):
    """A published claim and the comparison that tests it."""

    model_config = _STRICT
    id: str
    source: str
    claim: str
    where: Where = Where()
    test: Annotated[Difference | Variance | Target | Value, Field(discriminator="kind")]


@cache
def published() -> tuple[Claim, ...]:
    """The claims of ``claims.yaml``, one per pair of agents."""
    text = files("prunebench.harness.analysis").joinpath("claims.yaml").read_text(encoding="utf-8")
    return _parsed(yaml.safe_load(text))


def read(path: Path) -> tuple[Claim, ...]:
    """The claims of a user's file, which is written as ``claims.yaml`` is.

    Raises:
        ConfigError: there is no such file, or it is written otherwise.
    """
    try:
        return _parsed(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"claims {str(path)!r}: {where}: {first['msg']}") from error
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise ConfigError(f"claims {str(path)!r}: {plain_line(str(error))}") from error
    except (TypeError, AttributeError, KeyError, ValueError) as error:
        raise ConfigError(
            f"claims {str(path)!r}: expected a list of claims, each with id, source, claim and test"
        ) from error


def sha256(path: Path) -> str:
    """The hash of a file of claims, which :func:`read` has read."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _parsed(content: Any) -> tuple[Claim, ...]:
    if not content:
        raise TypeError("none")
    return tuple(Claim.model_validate(claim) for entry in content for claim in _pair_by_pair(entry))


def _pair_by_pair(entry: dict[str, Any]) -> list[dict[str, Any]]:
    test = dict(entry["test"])
    pairs = test.pop("pairs", None)
    if pairs is None:
        return [entry]
    return [entry | {"test": test | {"agent": agent, "reference": reference}} for agent, reference in pairs]


def evaluate(
    claim: Claim,
    readings: Mapping[str, Reading],
    runs: pd.DataFrame,
    others: Sequence[Claim] = (),
    counting: Collection[str] = (),
) -> Finding:
    """Test a claim on those experiments that can test it.

    Args:
        claim: from :func:`published` or :func:`read`.
        readings: of at least one experiment, by task.
        runs: of these experiments, see :class:`prunebench.harness.analysis.results.Results`.
        others: claims beside which it is tested; the published ones where there are none.
        counting: tasks whose accuracies count where there are others that do not.
    """
    lacking = {task: claim.where.missing(reading) for task, reading in readings.items()}
    able = {task: readings[task] for task, lack in lacking.items() if lack is None}
    if not able:
        nearest = min(filter(None, lacking.values()), key=lambda lack: lack.startswith("needs the network"))
        return claim_rules.not_tested(nearest)
    if "accuracy" in claim.test.column:
        able = {task: reading for task, reading in able.items() if task in counting} or able
    mine = runs[runs["task"].isin(able) & (runs["status"] == "done")].dropna(subset=[claim.test.column])
    named = [claim.test.agent, *([claim.test.reference] if not isinstance(claim.test, Value) else [])]
    labels = [_label(comparison.agents_of(mine), name, others or published()) for name in named]
    known = [label for label in labels if label is not None]
    if len(known) < len(named):
        absent = named[labels.index(None)]
        what = "fine-tuned runs" if claim.test.column == "finetuned_accuracy" else "finished runs"
        return claim_rules.not_tested(f"needs {what} of {absent}")
    return claim_rules.run(claim.test, able, mine, *known)


def _label(labels: Sequence[str], name: str, claims: Sequence[Claim]) -> str | None:
    """The agent by its name, or else the first one of that name with options that no claim names."""
    if name in labels:
        return name
    named = {agent for claim in claims for agent in (claim.test.agent, getattr(claim.test, "reference", ""))}
    return next((label for label in labels if label.partition(":")[0] == name and label not in named), None)


def findings(
    claims: Sequence[Claim], readings: Mapping[str, Reading], runs: pd.DataFrame, counting: Collection[str]
) -> pd.DataFrame:
    """The claims' rows: id, source, claim, agent, measured, effect, outcome.

    Of a claim's pairs of agents those that took part; of one that no pair can test, the first.
    """
    labels = comparison.agents_of(runs)
    rows = [
        {
            "id": c.id,
            "source": c.source,
            "claim": c.claim,
            "agent": _label(labels, c.test.agent, claims) or c.test.agent,
        }
        | evaluate(c, readings, runs, claims, counting)._asdict()
        for c in claims
    ]
    tested = {row["id"] for row in rows if row["outcome"] != NOT_TESTED}
    table = pd.DataFrame(rows)
    shown = (table["outcome"] != NOT_TESTED) | (~table["id"].isin(tested) & ~table["id"].duplicated())
    return table[shown].reset_index(drop=True)
