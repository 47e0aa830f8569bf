"""The questions of published claims, put to our own agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunebench.harness.report.tables import table_claims

if TYPE_CHECKING:
    from prunebench.harness.analysis.results import Results
    from prunebench.harness.report.tables.tabular import Table

NAME = table_claims.OWN


def table(results: Results) -> Table | None:
    """Of :func:`prunebench.harness.report.tables.table_claims.own`."""
    return table_claims.own(results)
