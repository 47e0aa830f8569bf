"""What experiments found, as one looks at it from Python: data frames, figures, verdicts, a page."""

from __future__ import annotations

import io
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from prunebench.envs.errors import check_choice
from prunebench.harness.errors import ConfigError
from prunebench.harness.keywords import in_keywords
from prunebench.harness.report.tables import table_agents, table_list, tabular

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from prunebench.harness.analysis.results import Results
    from prunebench.harness.record.store import Experiment


def _shown(figure: Figure) -> Figure:
    """The figure, which a notebook shows: IPython knows by itself only of those that pyplot made."""

    def png() -> bytes:
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=110, facecolor="white")
        return file.getvalue()

    figure._repr_png_ = png  # type: ignore[attr-defined]
    return figure


class BenchResults:
    """The results of one or several experiments, finished or not. A notebook shows them as their table.

    Args:
        results: the numbers.
        failed: what a call could not do, and why.

    Attributes:
        results: everything else that is computed from the same files.
        failed: what the call that returned this could not do, by the name of the run, and why; empty where all is done.
    """

    def __init__(self, results: Results, failed: Mapping[str, str] | None = None) -> None:
        self.results = results
        self.failed = dict(failed or {})

    @property
    def experiments(self) -> list[Experiment]:
        """The experiments as they are on disk; those of one task count as one."""
        return list(self.results.whole)

    @property
    def experiment(self) -> Experiment:
        """The only experiment.

        Raises:
            ConfigError: there are several.
        """
        if len(self.experiments) > 1:
            folders = ", ".join(str(experiment.folder) for experiment in self.experiments)
            raise ConfigError(f"these are results of {len(self.experiments)} experiments ({folders}): expected one")
        return self.experiments[0]

    @property
    def folder(self) -> Path:
        """The folder of the only experiment.

        Raises:
            ConfigError: there are several.
        """
        return self.experiment.folder

    @property
    def table(self) -> pd.DataFrame:
        """A row per agent, the dense network first; of several experiments a row per ``task`` and agent.

        Accuracies are in %, means and standard deviations over seeds; costs in % of the dense network's; times in
        seconds. The columns are those of ``tables/table.csv``.
        """
        frame = table_agents.table(self.results).frame
        return frame.set_index(["task", "agent"] if "task" in frame else "agent")

    @property
    def runs(self) -> pd.DataFrame:
        """A row per run: see :attr:`prunebench.harness.analysis.frames.Reading.runs`."""
        return self.results.runs.copy()

    @property
    def evaluations(self) -> pd.DataFrame:
        """A row per evaluation: ``task``, and see :attr:`prunebench.harness.analysis.frames.Reading.evaluations`."""
        import pandas as pd

        frames = [reading.evaluations.assign(task=name) for name, reading in self.results.readings.items()]
        return pd.concat(frames, ignore_index=True)

    @property
    def verdicts(self) -> list[str]:
        """What these runs decide and what they leave open, in sentences."""
        return self.results.verdicts if len(self.results.parts) == 1 else self.results.joint_verdicts

    def figure(self, name: str) -> Figure:
        """One of the report's figures, which a notebook shows below the cell.

        Args:
            name: of one experiment ``anytime_evaluations``, ``final_accuracy`` and others; a wrong one is answered
                with all that there are.

        Raises:
            TaskError: there is no such figure of these results.
        """
        drawn = self.figures()
        check_choice("figure", name, drawn)
        return drawn[name]

    def figures(self) -> dict[str, Figure]:
        """The report's figures by name, as far as there are data for them."""
        from prunebench.harness.report.figures import figure_list

        return {name: _shown(figure) for name, figure in figure_list.draw(self.results).items()}

    def text(self, form: str = "terminal") -> str:
        """The table as ``terminal``, ``markdown``, ``csv`` or ``latex``.

        Raises:
            TaskError: there is no such form.
        """
        check_choice("form", form, table_list.FORMATS)
        return table_list.render(self.results, form)

    @in_keywords(html="path")
    def report(self, path: str | Path | None = None) -> Path:
        """Write tables, figures and the HTML page, and return the page's file.

        Of results of some seeds the page, and tables and figures of several experiments together.

        Args:
            path: of the page; the default is ``report.html`` in the folder of the experiments, or with the seeds in
                its name.

        Raises:
            ConfigError: the experiments lie in several folders, and there is no ``path``.
        """
        from prunebench.harness.report import page

        return page.write(self.results, None if path is None else Path(path).expanduser())

    def __repr__(self) -> str:
        folders = ", ".join(repr(str(experiment.folder)) for experiment in self.experiments)
        return f"<results of {folders}: {', '.join(self.results.agents)}>"

    def __str__(self) -> str:
        return "\n".join([self.text(), *self.verdicts])

    def _repr_html_(self) -> str:
        """The table, what is missing from it, and the verdicts."""
        table = table_agents.table(self.results)
        grid = tabular.gridded(table.columns, table.grouped(), "html", [column.line for column in table.columns])
        failed = [f"failed: {name}: {why}" for name, why in self.failed.items()]
        lines = [*table.notes, *self.verdicts, *failed]
        return grid + "".join(f"<p>{escape(line)}</p>" for line in lines)
