"""The figures of an experiment: as objects, as files (SVG and PDF), and as SVG inside a page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from prunebench.envs.files import whole
from prunebench.harness.analysis import frames
from prunebench.harness.files import write_text
from prunebench.harness.record.store import Experiment
from prunebench.harness.report import figure_policies, figure_runs
from prunebench.harness.report import figure_style as style

_AXIS = "accuracies are spaced by the logarithm of the error"
TITLES = {
    "anytime_evaluations": "Accuracy of the incumbent on the reward split against finished evaluations: mean over the "
    "seeds that are done, with its 95 % interval by Student's t (the last ones once more at the right); "
    f"{_AXIS}, and the lowest of the early ones are cut off.",
    "anytime_seconds": "Accuracy of the incumbent on the reward split against the search's wall-clock time: mean over "
    "the seeds that are done, with its 95 % interval by Student's t (the last ones once more at the right); a run that "
    f"has ended holds its last value; {_AXIS}, and the lowest of the early ones are cut off.",
    "final_accuracy": "Accuracy of every run's incumbent on the test split: a dot per seed, a stroke at the mean, the "
    f"dense network where it is not far off; {_AXIS}.",
    "time_split": "Wall-clock seconds of a run by what they were spent on, and in all: mean over the seeds that are "
    "done.",
    "preserve_ratios": "Channels kept per layer by the best policy of every agent, that of the run with the best "
    "accuracy on the reward split.",
    "clusters": "How layers are clustered: the tree (distances on a log scale), coloured by the first stage's "
    "clusters, and the clusters of every stage of the best run, with the evaluation after which it rolled back to "
    "them.",
    "pareto": "Accuracy on the reward split against the limited cost, as a fraction of the dense network's: all "
    "evaluations of all runs, the best at every cost, and the budget; what is beyond it has a scale of its own; "
    f"{_AXIS}, and the lowest twentieth is cut off.",
}
"""What each figure shows, in one sentence, in the order of :func:`draw`."""

_DRAWING: dict[str, Callable[[Experiment, pd.DataFrame, pd.DataFrame], Figure | None]] = {
    "anytime_evaluations": figure_runs.anytime_evaluations,
    "anytime_seconds": figure_runs.anytime_seconds,
    "final_accuracy": figure_runs.final_accuracy,
    "time_split": figure_runs.time_split,
    "preserve_ratios": figure_policies.preserve_ratios,
    "clusters": figure_policies.clusters,
    "pareto": figure_policies.pareto,
}
_LEFT_OUT = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_MARKS = re.compile(r'<use [^>]* style="([^"]*)"/>\s*(?:<use [^>]* style="\1"/>\s*)+')
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}(?![\d.]*[%eE])")


def draw(experiment: Experiment) -> dict[str, Figure]:
    """The figures for which there are data, by name, in the order of :data:`TITLES`.

    Raises:
        StoreError: a file of the experiment is damaged.
    """
    runs, evaluations = frames.runs_frame(experiment), frames.evaluations_frame(experiment)
    with matplotlib.rc_context(style.settings()):
        drawn = {name: function(experiment, runs, evaluations) for name, function in _DRAWING.items()}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def write(experiment: Experiment, drawn: Mapping[str, Figure] | None = None) -> dict[str, tuple[Path, Path]]:
    """Write every figure into ``figures/``; the same data make the same bytes.

    Args:
        experiment: whose they are.
        drawn: what :func:`draw` returned, where it was called already.

    Returns:
        The SVG and the PDF of every figure by its name.
    """
    files = {}
    for name, figure in (draw(experiment) if drawn is None else drawn).items():
        svg, pdf = (experiment.figures_folder / f"{name}.{form}" for form in ("svg", "pdf"))
        write_text(svg, _svg(figure, name, "white"))
        with whole(pdf) as file:
            file.write(_pdf(figure))
        files[name] = (svg, pdf)
    return files


def inline_svg(figure: Figure, name: str, title: str) -> str:
    """A figure as an element of a page: as wide as there is room, in the page's text colour, without a background.

    Args:
        figure: from :func:`draw`.
        name: what its ids begin with: different for every figure of a page.
        title: what is read out instead of it.
    """
    text = _LEFT_OUT.sub("", _svg(figure, name, "none"))
    text = _TAG.sub(lambda tag: _LONG_NUMBER.sub(_rounded, tag[0]), text)
    text = _MARKS.sub(_share_style, _own_ids(text.replace("xlink:href", "href"), name))
    text = text.replace(style.INK, "currentColor").replace("'DejaVu Sans', sans-serif", "sans-serif")
    box = re.search(r'viewBox="[^"]*"', text)
    label, head = escape(title), box[0] if box else ""
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {head} width="100%" role="img" aria-label="{label}" '
        f'style="stroke-linejoin: round; stroke-linecap: butt"><title>{label}</title>'
    )
    body = text[text.index(">", text.index("<svg")) + 1 :]
    return re.sub(r"\n\s*", "\n", opening + body).strip() + "\n"


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


def _share_style(marks: re.Match[str]) -> str:
    """Marks that look alike say so once: of thousands of dots that is most of the text."""
    uses = marks[0].replace(f' style="{marks[1]}"', "")
    return f'<g style="{marks[1]}">{uses}</g>\n'


def _own_ids(text: str, name: str) -> str:
    """Only the ids that something refers to, each with the figure's name before it."""
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", text)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)


def _svg(figure: Figure, name: str, background: str) -> str:
    buffer = io.StringIO()
    unsaid = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context(style.settings() | {"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", facecolor=background, metadata=unsaid)
    return buffer.getvalue()


def _pdf(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with matplotlib.rc_context(style.settings()):
        figure.savefig(buffer, format="pdf", facecolor="white", metadata={"CreationDate": None})
    return buffer.getvalue()
