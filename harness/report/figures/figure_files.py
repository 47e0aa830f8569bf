"""Figures as files (SVG and PDF), and as SVG inside a page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from prunebench.envs.files import whole
from prunebench.harness.files import write_text
from prunebench.harness.report.figures import figure_style as style

_LEFT_OUT = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_MARKS = re.compile(r'<use [^>]* style="([^"]*)"/>\s*(?:<use [^>]* style="\1"/>\s*)+')
_POINTS = 72  # per inch: what both forms are drawn in
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}(?![\d.]*[%eE])")


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
        svg, pdf = (folder / f"{name}.{form}" for form in ("svg", "pdf"))
        write_text(svg, _svg(figure, name, "white"))
        with whole(pdf) as file:
            file.write(_pdf(figure))
        files[name] = (svg, pdf)
    return files


def inline_svg(figure: Figure, name: str, title: str) -> str:
    """A figure as an element of a page: as wide as there is room, in the page's text colour, without a background.

    Args:
        figure: to be shown.
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
