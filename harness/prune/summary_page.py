"""The page about one pruned network: a file that needs nothing else."""

from __future__ import annotations

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
    from markupsafe import Markup

    from prunebench.harness.report import templates  # matplotlib takes a second

    kept = pruned.facts["channels"]
    text = templates.template("summary_page.html.jinja", __package__).render(
        title=pruned.headline,
        unmet=pruned.unmet,
        table=Markup(table_html(pruned.rows)),
        notes=pruned.notes,
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

    from prunebench.harness.analysis.results import Results
    from prunebench.harness.report import templates
    from prunebench.harness.report.figures import figure_style as style
    from prunebench.harness.report.figures.figure_list import DRAWINGS

    results = Results([pruned.experiment])
    with matplotlib.rc_context(style.settings()):
        drawn = {name: figure for name in _FIGURES if (figure := DRAWINGS[name].draw(results)) is not None}
        return templates.figures(drawn, DRAWINGS, "")
