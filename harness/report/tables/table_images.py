"""How far accuracies, and leads over the reference, would move with other seeds and with other test images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from prunebench.harness.analysis import images
from prunebench.harness.report.tables.tabular import AGENT, DASH, Column, Row, Table, p_value, plain, rows

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results

NAME = "images"


def table(results: Results) -> Table | None:
    """Standard errors by seeds and by images; None of several tasks, or where no run kept its hits."""
    if len(results.readings) > 1 or results.images.empty:
        return None
    frame, reference, count = results.images, results.reference, results.reading.images
    columns = [
        AGENT,
        Column("runs", "runs", "runs", plain("runs")),
        Column("accuracy", "mean,\n%", "mean, %", plain("accuracy", 2)),
        Column("se_run", "s.e. of\none run", "s.e., run", plain("se_run", 2)),
        Column("se_seeds", "s.e. by\nseeds", "by seeds", plain("se_seeds", 2)),
        Column("se_images", "s.e. by\nimages", "by images", plain("se_images", 2)),
        Column("difference", f"minus\n{reference}", "difference", _signed),
        Column("difference_se_seeds", "s.e. by\nseeds", "by seeds", plain("difference_se_seeds", 2)),
        Column("difference_se_images", "s.e. by\nimages", "by images", plain("difference_se_images", 2)),
        Column("difference_se", "s.e. by\nboth", "by both", plain("difference_se", 2)),
        Column("image_share", "images'\nshare, %", "images, %", _percent),
        Column("p_mcnemar", "p,\nMcNemar", "p, McNemar", p_value("p_mcnemar")),
    ]
    caption = (
        f"Accuracy on the test split of {count:,} images: standard errors (s.e., percentage points) of one run's "
        f"network (binomial), and of means and differences from {reference} if other seeds, or other images, were "
        "drawn. What a run does to an image by chance is in both, and counted once in 's.e. by both'. Images' share: "
        "of that variance, what more seeds do not reduce. McNemar's exact test compares the two runs that are best on "
        "the reward split, on these images; not corrected for the number of agents."
    )
    return Table(NAME, "Seeds and images", columns, rows(frame), frame, caption, _notes(results))


def _notes(results: Results) -> list[str]:
    """The strongest rival's case in words, and how many runs tell nothing."""
    frame, done = results.images, int((results.runs["status"] == "done").sum())
    rivals = frame[frame["agent"] != results.reference].sort_values("accuracy")
    missing = done - int(frame["runs"].sum())
    lost = f"{missing} of {done} runs are of an older version, which did not keep on which images they were right."
    said = [images.sentence(row, results.reference, results.reading.images) for _, row in rivals.tail(1).iterrows()]
    return [*filter(None, said), *([lost] if missing else [])]


def _signed(row: Row) -> str:
    return DASH if pd.isna(row["difference"]) else f"{row['difference']:+.2f}"


def _percent(row: Row) -> str:
    return DASH if pd.isna(row["image_share"]) else f"{100 * row['image_share']:.0f}"
