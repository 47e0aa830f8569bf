"""Seeds and images: against brute force, against SciPy, and on hits whose components are known."""

from __future__ import annotations

import math
from pathlib import Path

import fake
import numpy as np
import pytest
from scipy import stats

from prunebench.envs.environment.hits import packed, unpacked
from prunebench.harness.analysis import images
from prunebench.harness.analysis.results import Results
from prunebench.harness.errors import DamagedError
from prunebench.harness.report.tables import table_images


def test_hits_survive_as_text_and_nothing_else_passes_for_them() -> None:
    hits = np.random.default_rng(0).random(101) < 0.7
    np.testing.assert_array_equal(unpacked(packed(hits), 101), hits)
    for text, count in ((packed(hits), 96), (packed(hits), 105), ("?", 4), (packed([True] * 8), 7)):
        with pytest.raises(ValueError, match=r"expected those of|no base64"):
            unpacked(text, count)


def test_one_networks_standard_error_is_the_binomials() -> None:
    hits = np.arange(250) < 200
    assert images.standard_error(hits) == pytest.approx(100 * stats.binom(250, 0.8).std() / 250)


def test_mcnemar_counts_the_images_on_which_two_networks_differ() -> None:
    one, other = np.array([[1, 1, 1, 1, 0, 0, 1, 1, 0], [0, 0, 0, 0, 1, 0, 1, 0, 0]], dtype=bool)
    ways = [bin(flips).count("1") for flips in range(2**6)]  # five to one, or further from even
    assert images.mcnemar(one, other) == pytest.approx(sum(count in (0, 1, 5, 6) for count in ways) / 2**6)
    assert images.mcnemar(one, other) == images.mcnemar(other, one)
    assert images.mcnemar(one, one) == 1.0


def drawn(rng: np.random.Generator, runs: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Hits of runs of different skill on images of different difficulty."""
    return rng.random((len(runs), len(shown))) < np.clip(0.7 + runs[:, None] + shown, 0, 1)


def test_standard_errors_are_what_drawing_anew_gives() -> None:
    """Seeds alone, images alone, and both drawn 1500 times: the errors that one experiment tells, on the average."""
    rng = np.random.default_rng(1)
    means, told = [], []
    for _ in range(1500):
        shown = rng.uniform(-0.25, 0.25, 200)
        sides = [drawn(rng, rng.normal(0, 0.03, 4), shown * factor) for factor in (1.0, -0.4)]
        found = images.spread(*sides)
        means.append(found.mean)
        told.append([found.seeds**2, found.images**2, found.both**2])
    seeds, shown_only, both = np.mean(told, axis=0)
    assert both == pytest.approx(np.var(means), rel=0.1)
    assert seeds + shown_only > 1.15 * both  # what a run does to an image by chance would count twice
    assert max(seeds, shown_only) < both


def test_the_share_is_what_more_seeds_do_not_reduce() -> None:
    rng = np.random.default_rng(2)
    shown, runs = rng.uniform(-0.25, 0.25, 2000), rng.normal(0, 0.01, 400)
    few, many = (images.spread(drawn(rng, runs[:count], shown)) for count in (5, 400))
    assert few.share * few.both**2 == pytest.approx(many.both**2, rel=0.2)
    assert many.share > 0.9 > few.share
    assert images.spread(drawn(rng, runs[:5], 0 * shown)).share < 0.2  # equally hard images


def test_the_sums_against_loops() -> None:
    rng = np.random.default_rng(3)
    one, other = rng.random((3, 17)) < 0.8, rng.random((2, 17)) < 0.6
    found = images.spread(one, other)
    leads = [sum(one[:, i]) / 3 - sum(other[:, i]) / 2 for i in range(17)]
    runs = [[sum(row) / 17 for row in side] for side in (one, other)]
    assert found.mean == pytest.approx(100 * (np.mean(runs[0]) - np.mean(runs[1])))
    assert found.images == pytest.approx(100 * math.sqrt(np.var(leads, ddof=1) / 17))
    assert found.seeds == pytest.approx(100 * math.sqrt(np.var(runs[0], ddof=1) / 3 + np.var(runs[1], ddof=1) / 2))


def test_one_run_tells_nothing_of_seeds() -> None:
    found = images.spread(np.arange(40)[None] < 30)
    assert math.isnan(found.seeds)
    assert math.isnan(found.share)
    assert found.images == pytest.approx(images.standard_error(np.arange(40) < 30), rel=0.02)


def test_the_table(tmp_path: Path) -> None:
    experiment = fake.experiment(tmp_path, seeds=3, agents=("random", "bo"))
    assert table_images.table(Results([experiment])) is None  # what older versions left
    rng = np.random.default_rng(4)
    kept = {}
    for run in experiment.runs():
        kept[run.name] = rng.random(100) < (0.9 if run.agent == "bo" else 0.7)
        accuracy = float(kept[run.name].mean())
        fake.amend(run, test={"accuracy": accuracy, "loss": 1.0, "hits": packed(kept[run.name])})
    results = Results([experiment])
    random, bo = results.images.to_dict("records")
    assert math.isnan(bo["difference"])  # the reference
    assert bo["accuracy"] == pytest.approx(results.summary.set_index("agent").loc["bo", "test_accuracy_mean"])
    best = [min(experiment.runs(), key=lambda run: (run.agent != agent, -top(run))).name for agent in ("random", "bo")]
    assert random["p_mcnemar"] == images.mcnemar(*(kept[name] for name in best))
    told = table_images.table(results)
    assert told is not None
    assert told.notes == [images.sentence(random, "bo", 100)]
    assert "of random's distance behind bo" in told.notes[0]

    run = experiment.run("bo", 1)
    fake.amend(run, test={"accuracy": 0.9, "loss": 1.0})
    told = table_images.table(Results([experiment]))
    assert told is not None
    assert told.notes[-1].startswith("1 of 6 runs are of an older version")
    fake.amend(run, test={"accuracy": 0.9, "loss": 1.0, "hits": packed(kept["bo seed 1"][:50])})
    with pytest.raises(DamagedError, match=r"seed-1.json: test.hits: 56 bits: expected those of 100 images"):
        table_images.table(Results([experiment]))


def top(run: object) -> float:
    return max(line.accuracy for line in run.lines() if line.feasible)  # type: ignore[attr-defined]
