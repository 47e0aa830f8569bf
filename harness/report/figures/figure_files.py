"""Figures as files: SVG and PDF."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from prunebench.envs.files import whole
from prunebench.harness.files import write_text
from prunebench.harness.report.figures import figure_style as style

_POINTS = 72  # per inch: what both forms are drawn in


def write(drawn: Mapping[str, Figure], folder: Path) -> dict[str, tuple[Path, Path]]:
    """Write figures into a folder; the same data make the same bytes.

    Args:
        drawn: by name, see :func:`prunebench.harness.report.figures.figure_list.draw`.
        folder: where they go.

    Returns:
        The SVG and the PDF of every figure by its name.
    """
    files = {}
    for name, figure in drawn.items():
        vector, pdf = (folder / f"{name}.{form}" for form in ("svg", "pdf"))
        write_text(vector, svg(figure, name, "white"))
        with whole(pdf) as file:
            file.write(_pdf(figure))
        files[name] = (vector, pdf)
    return files


def svg(figure: Figure, name: str, background: str) -> str:
    """The text of an SVG file.

    Args:
        figure: to be drawn.
        name: of it, which decides the ids.
        background: a colour, or ``none``.
    """
    buffer = io.StringIO()
    unsaid = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context(style.settings() | {"svg.hashsalt": name}):
        _print(figure, background, FigureCanvasSVG(figure).print_svg, buffer, unsaid)
    return buffer.getvalue()


def _pdf(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with matplotlib.rc_context(style.settings()):
        _print(figure, "white", FigureCanvasPdf(figure).print_pdf, buffer, {"CreationDate": None})
    return buffer.getvalue()


def _print(
    figure: Figure, background: str, how: Callable[..., None], buffer: io.IOBase, metadata: Mapping[str, None]
) -> None:
    """What ``savefig`` does, by a canvas's own method: ``savefig`` draws everything once more to lay it out."""
    engine, dots = figure.get_layout_engine(), figure.dpi
    assert engine is not None
    figure.set_dpi(_POINTS)
    engine.execute(figure)
    figure.set_dpi(dots)
    figure.set_layout_engine("none")
    figure.set_facecolor(background)
    how(buffer, metadata=metadata)
    figure.set_dpi(dots)
    figure.set_layout_engine(engine)
