"""What a paper that compares agents would cite: BibTeX of their methods and of this tool."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prunebench.harness.experiments.agentspec import AgentSpec

_BOTORCH = ("balandat2020botorch", "hvarfner2024vanilla", "ament2023logei")
SOURCES: Mapping[str, Sequence[str]] = {
    "uniform": (),
    "global": ("fang2023depgraph",),
    "random": (),
    "greedy": ("li2017pruning",),
    "ddpg": ("he2018amc", "lillicrap2016ddpg", "raffin2021sb3"),
    "sac": ("haarnoja2018sac", "he2018amc", "raffin2021sb3"),
    "bo": _BOTORCH,
    "clustered_bo": ("fan2022bocr", *_BOTORCH),
    "adaptive_clustered_bo": ("fan2022bocr", "ament2023logei"),
    "cmaes": ("hansen2016cma", "auger2005ipop", "nomura2024cmaes"),
    "tpe": ("bergstra2011tpe", "falkner2018bohb", "akiba2019optuna"),
    "turbo": ("eriksson2019turbo", "balandat2020botorch"),
    "evolution": ("sieberling2025evopress", "liu2019metapruning"),
    "abc": ("lin2020abcpruner",),
    "spdy": ("frantar2022spdy", "li2017pruning"),
}
"""By agent: keys of ``methods.bib``. An agent of ours without an entry fails a test."""
_GPYOPT = {("bo", "gpyopt2021"), ("clustered_bo", "gpyopt2021"), ("clustered_bo", "paper")}


def bibtex(agents: Iterable[AgentSpec]) -> str:
    """The tool and the methods of these agents, each once; those of whom nothing is known are named at the head."""
    specs = list(agents)
    keys = ["prunebench", *(key for spec in specs for key in _keys(spec))]
    unknown = dict.fromkeys(spec.name for spec in specs if spec.name not in SOURCES)
    head = [f"% no source is known here for: {', '.join(unknown)}\n"] if unknown else []
    chosen = [entries()[key] for key in dict.fromkeys(keys)]
    return "\n".join([*head, *chosen]).replace("@version@", version("prunebench"))


def _keys(spec: AgentSpec) -> Sequence[str]:
    known = SOURCES.get(spec.name, ())
    gpyopt = (spec.name, dict(spec.options).get("preset")) in _GPYOPT
    return (*known, "gpyopt2016") if gpyopt else known


@cache
def entries() -> dict[str, str]:
    """The entries of ``methods.bib`` by key."""
    text = files("prunebench.harness.report.tables").joinpath("methods.bib").read_text(encoding="utf-8")
    found = re.findall(r"^(@\w+\{([^,]+),\n.*?^\}\n)", text, re.DOTALL | re.MULTILINE)
    return {key: entry for entry, key in found}
