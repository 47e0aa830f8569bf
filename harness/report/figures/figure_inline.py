"""A figure as SVG inside a page: small, without ids that another figure has, in the page's text colour."""

from __future__ import annotations

import re
from html import escape
from itertools import pairwise

from matplotlib.figure import Figure

from prunebench.harness.report.figures import figure_files
from prunebench.harness.report.figures import figure_style as style

_LEFT_OUT = re.compile(
    r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>"
    r'| transform="rotate\(-?0 [^"]*"|<defs>\s*</defs>',
    re.DOTALL,
)
_TAG = re.compile(r"<[^>]*>")
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}(?![\d.]*[%eE])")
_USE = r'<use href="#{0}" x="[^"]*" y="[^"]*" style="{1}"/>\s*'
_MARKS = re.compile(_USE.format('([^"]*)', '([^"]*)') + f"(?:{_USE.format(chr(92) + '1', chr(92) + '2')})+")
_PLACE = re.compile(r' x="([^"]*)" y="([^"]*)"')
_PATH = re.compile(r' d="([^"]*)"')
_STRAIGHT = re.compile(r"([ML]) ?(\S+) (\S+)|(z)", re.IGNORECASE)

Point = tuple[float, float]


def inline_svg(figure: Figure, name: str, title: str) -> str:
    """A figure as an element of a page: as wide as there is room, in the page's text colour, without a background.

    Args:
        figure: to be shown.
        name: what its ids begin with: different for every figure of a page, and short, for there are many.
        title: what is read out instead of it.
    """
    text = _LEFT_OUT.sub("", figure_files.svg(figure, name, "none"))
    text = _TAG.sub(lambda tag: _LONG_NUMBER.sub(_rounded, tag[0]), text)
    text = _PATH.sub(lambda path: f' d="{_shortened(path[1])}"', text.replace("xlink:href", "href"))
    text = _own_ids(_MARKS.sub(_as_markers, text), name)
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


def _shortened(path: str) -> str:
    """Straight lines in tenths of a point, without what goes on in the same direction; others as they are."""
    steps = [(step[1], step[2], step[3]) for step in _STRAIGHT.finditer(path)]
    if len(steps) < 3 or re.search(r"[^MLzZ\d\s.e-]", path):
        return " ".join(path.split())
    told: list[str] = []
    for line in _lines(steps):
        told += _drawn(line)
    return "".join(told) + ("z" if path.rstrip().lower().endswith("z") else "")


def _lines(steps: list[tuple[str | None, str | None, str | None]]) -> list[list[Point]]:
    """The points of every line of a path."""
    lines: list[list[Point]] = []
    for command, x, y in steps:
        if command == "M":
            lines.append([])
        if command:
            lines[-1].append((round(float(x or 0), 1), round(float(y or 0), 1)))
    return lines


def _drawn(line: list[Point]) -> list[str]:
    told = [f"M{line[0][0]:g} {line[0][1]:g}"]
    for before, at in pairwise(_turning(line)):
        if at[1] == before[1]:
            told.append(f"H{at[0]:g}")
        elif at[0] == before[0]:
            told.append(f"V{at[1]:g}")
        else:
            told.append(f"L{at[0]:g} {at[1]:g}")
    return told


def _turning(line: list[Point]) -> list[Point]:
    """The points without those that are passed on the way along an axis."""
    kept = line[:1]
    for at in line[1:]:
        if at == kept[-1]:
            continue
        if len(kept) > 1 and any(
            kept[-2][axis] == kept[-1][axis] == at[axis]
            and (kept[-1][1 - axis] - kept[-2][1 - axis]) * (at[1 - axis] - kept[-1][1 - axis]) > 0
            for axis in (0, 1)
        ):
            kept.pop()
        kept.append(at)
    return kept


def _as_markers(marks: re.Match[str]) -> str:
    """Marks that look alike become the corners of an invisible line, each place once: of thousands of dots that is
    most of the text."""
    shape, look = marks[1], marks[2]
    marker = f"{shape}-{marks.start()}"  # the next panel may have the same mark
    places = dict.fromkeys(f"{float(x):.1f} {float(y):.1f}" for x, y in _PLACE.findall(marks[0]))
    ends = " ".join(f'marker-{end}="url(#{marker})"' for end in ("start", "mid", "end"))
    return (
        f'<marker id="{marker}" overflow="visible" markerUnits="userSpaceOnUse">'
        f'<use href="#{shape}" style="{look}"/></marker>\n'
        f'<path d="M{"L".join(places)}" style="fill: none; stroke: none" {ends}/>\n'
    )


def _own_ids(text: str, name: str) -> str:
    """Only the ids that something refers to, numbered, with the figure's name before them."""
    used = dict.fromkeys(re.findall(r'(?:url\(#|href="#)([^")]+)', text))
    numbers = {found: f"{name}-{number}" for number, found in enumerate(used)}
    text = re.sub(r' id="([^"]*)"', lambda found: f' id="{numbers[found[1]]}"' if found[1] in numbers else "", text)
    return re.sub(r'(url\(#|href="#)([^")]+)', lambda found: found[1] + numbers[found[2]], text)
