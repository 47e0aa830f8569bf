"""The other half of chance: which images the test split happens to hold.

Seeds are drawn anew in every run, the images never: all runs are tested on the same ones. So the spread over seeds does
not show how far an accuracy, or the difference of two agents, would move with other images. The hits do: on which
images each run's incumbent was right. Everything is in percentage points of accuracy.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from prunebench.envs.environment.hits import unpacked
from prunebench.harness.errors import DamagedError

if TYPE_CHECKING:
    from prunebench.harness.analysis.frames import Reading, Recorded

Hits = NDArray[np.bool_]


class Spread(NamedTuple):
    """Standard errors of a mean accuracy over runs, or of the difference of two.

    Attributes:
        mean: the accuracy, or the difference.
        seeds: with other seeds and the same images; NaN where an agent has one run.
        images: with the same runs and other images.
        both: with other seeds and other images.
        share: of the variance that ``both`` is the root of, what is left however many seeds are run; 0 to 1.
    """

    mean: float
    seeds: float
    images: float
    both: float
    share: float


def standard_error(hits: Hits) -> float:
    """Binomial standard error of one network's accuracy, from its hits ``(N,)``."""
    accuracy = hits.mean()
    return float(100 * math.sqrt(accuracy * (1 - accuracy) / len(hits)))


def mcnemar(one: Hits, other: Hits) -> float:
    """p of McNemar's exact test, two-sided: are two networks, ``(N,)`` each, right on equally many images?

    Only those count on which one is right and the other is wrong; 1 where there are none.
    """
    ahead, behind = int((one & ~other).sum()), int((other & ~one).sum())
    return float(stats.binomtest(ahead, ahead + behind).pvalue) if ahead + behind else 1.0


def spread(agent: Hits, reference: Hits | None = None) -> Spread:
    """Standard errors of an agent's mean accuracy, or of its lead over a reference.

    Every run meets every image, so that there are three sources: the runs, the images, and what a run does to an image
    by chance. The last is in the spread over runs as well as in that over images; in ``both`` it is counted once.

    Args:
        agent: ``(S, N)``, a row per run.
        reference: the same of another agent, of any number of runs, on the same images.
    """
    sides = [side.astype(np.float64) for side in (agent, reference) if side is not None]
    per_image = [side.mean(axis=0) for side in sides]
    lead = per_image[0] if reference is None else per_image[0] - per_image[1]
    seeds, twice = (sum(parts) for parts in zip(*map(_by_chance, sides), strict=True))
    images = lead.var(ddof=1) / len(lead)
    lasting = float(np.maximum(0.0, images - twice))  # an estimate may fall below zero, what it estimates may not
    both = seeds + lasting
    share = lasting / both if both > 0 else math.nan
    errors = {name: 100 * math.sqrt(part) for name, part in (("seeds", seeds), ("images", images), ("both", both))}
    return Spread(mean=100 * float(lead.mean()), **errors, share=share)


def _by_chance(hits: NDArray[np.float64]) -> tuple[float, float]:
    """Of the mean of hits ``(S, N)``: its variance over runs, and what of that is one run's chance on one image."""
    runs, images = hits.shape
    if runs < 2:
        return math.nan, math.nan
    per_run, per_image = hits.mean(axis=1), hits.mean(axis=0)
    rest = hits - per_run[:, None] - per_image + hits.mean()
    chance = (rest**2).sum() / ((runs - 1) * (images - 1))
    return float(per_run.var(ddof=1) / runs), float(chance / (runs * images))


def hits_of(reading: Reading, agent: str) -> dict[int, Hits]:
    """By seed what an agent's runs hit, of those that are done and kept it.

    Raises:
        DamagedError: what a run kept is not of these images.
    """
    mine = [record for record in reading.records if record.run.agent == agent and record.status.state == "done"]
    return {record.run.seed: hits for record in mine if (hits := _kept(record, reading.images)) is not None}


def _kept(record: Recorded, images: int) -> Hits | None:
    test = record.status.test
    if test is None or test.hits is None:
        return None
    try:
        return unpacked(test.hits, images)
    except ValueError as error:
        raise DamagedError(f"{record.run.status_path}: test.hits: {error}") from error


def table(reading: Reading, reference: str) -> pd.DataFrame:
    """A row per agent whose hits are on disk, of one task.

    Columns: agent, runs (with hits), accuracy, se_run (:func:`standard_error` of one run's network, mean over runs),
    se_seeds, se_images; against the reference difference,
    difference_se_seeds, difference_se_images, difference_se, image_share (see :class:`Spread`), p_mcnemar (of the runs
    of both that are best on the reward split). NaN where there is nothing to compute it from.
    """
    agents = list(dict.fromkeys(reading.runs["agent"]))
    known = {agent: hits for agent in agents if (hits := hits_of(reading, agent))}
    best = {record.run.agent: record.run.seed for record, _ in reading.best}
    rows = [_row(agent, reference, known, best) for agent in known]
    return pd.DataFrame(rows, columns=COLUMNS)


COLUMNS = (
    *("agent", "runs", "accuracy", "se_run", "se_seeds", "se_images"),
    *("difference", "difference_se_seeds", "difference_se_images", "difference_se", "image_share", "p_mcnemar"),
)


def _row(agent: str, reference: str, known: dict[str, dict[int, Hits]], best: dict[Any, Any]) -> dict[str, Any]:
    mine = known[agent]
    own = spread(_stacked(mine))
    row = {"agent": agent, "runs": len(mine), "accuracy": own.mean}
    row |= {"se_run": float(np.mean([standard_error(hits) for hits in mine.values()]))}
    row |= {"se_seeds": own.seeds, "se_images": own.images}
    if agent == reference or reference not in known:
        return row
    row |= dict(zip(COLUMNS[6:11], spread(_stacked(mine), _stacked(known[reference])), strict=True))
    one, other = (known[name].get(best[name]) for name in (agent, reference))
    return row if one is None or other is None else row | {"p_mcnemar": mcnemar(one, other)}


def _stacked(hits: dict[int, Hits]) -> Hits:
    return np.stack(list(hits.values()))


def sentence(row: Any, reference: str, images: int) -> str:
    """What part of the uncertainty of an agent's lead is the images', in words; empty where that is not known.

    Args:
        row: of :func:`table`, by column.
        reference: the other agent.
        images: of the test split.
    """
    if pd.isna(row["image_share"]):
        return ""
    lead = "lead over" if row["difference"] >= 0 else "distance behind"
    return (
        f"Of the uncertainty (variance) of {row['agent']}'s {lead} {reference}, {100 * row['image_share']:.0f} % is "
        f"the choice of {images:,} test images and not of seeds: more seeds do not reduce it."
    )
