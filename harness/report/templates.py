"""The templates of pages, and what they are given."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from prunebench.harness.report.figures import figure_inline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from prunebench.harness.report.figures.figure_style import Drawing


def template(name: str, package: str = "prunebench.harness.report") -> jinja2.Template:
    """One of a package's templates, which may use what is in others."""
    folder = files(package)
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(name)


def figures(drawn: Mapping[str, Figure], drawings: Mapping[str, Drawing], key: str) -> list[dict[str, Any]]:
    """What a template shows of figures, by the names of their drawings; ids begin with a key."""
    found = []
    for number, (name, figure) in enumerate(drawn.items()):
        drawing = drawings[name]
        svg = Markup(figure_inline.inline_svg(figure, f"{key}f{number}", drawing.title))
        found.append({"title": drawing.title, "caption": drawing.caption, "svg": svg})
    return found
