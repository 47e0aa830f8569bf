"""The page about one pruned network: a file that needs nothing else."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

from prunebench.harness.files import write_text
from prunebench.harness.prune.result import PAGE, table_html
from prunebench.harness.record import store

if TYPE_CHECKING:
    from pathlib import Path

    from prunebench.harness.prune.result import Pruned

_FIGURES = ("preserve_ratios", "anytime_evaluations")


def write(pruned: Pruned) -> Path:
    """Write the page into the folder, and return its path."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = files("prunebench.harness.prune").joinpath("summary_page.html.jinja").read_text(encoding="utf-8")
    kept = pruned.facts["channels"]
    text = environment.from_string(template).render(
        title=pruned.headline,
        unmet=pruned.unmet,
        table=Markup(table_html(pruned.rows)),
        notes=[pruned.spread, pruned.onnx],
        figures=_figures(pruned),
        layers=list(zip(kept["layers"], kept["dense"], kept["kept"], strict=True)),
        files={what: path.relative_to(pruned.folder) for what, path in pruned.paths.items() if what != "report"},
        configuration=(pruned.folder / store.NAME).read_text(encoding="utf-8"),
    )
    path = pruned.folder / PAGE
    write_text(path, text)
    return path


def _figures(pruned: Pruned) -> list[dict[str, Any]]:
    import matplotlib
    from markupsafe import Markup

    from prunebench.harness.analysis.results import Results
    from prunebench.harness.report.figures import figure_inline, figure_list
    from prunebench.harness.report.figures import figure_style as style

    results, found = Results([pruned.experiment]), []
    with matplotlib.rc_context(style.settings()):
        for number, name in enumerate(_FIGURES):
            drawing = figure_list.DRAWINGS[name]
            figure = drawing.draw(results)
            if figure is not None:
                svg = Markup(figure_inline.inline_svg(figure, f"f{number}", drawing.title))
                found.append({"title": drawing.title, "caption": drawing.caption, "svg": svg})
    return found
