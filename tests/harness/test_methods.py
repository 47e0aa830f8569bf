"""What a paper would cite: every agent of ours has a source, and every entry is one."""

from __future__ import annotations

import re
from importlib.metadata import entry_points

from prunebench.harness.experiments import agentspec, registry
from prunebench.harness.report.tables import methods


def cited(agents: str) -> set[str]:
    return set(re.findall(r"^@\w+\{([^,]+),$", methods.bibtex(agentspec.parse(agents)), re.MULTILINE))


def test_every_agent_of_ours_has_its_sources() -> None:
    ours = {p.name for p in entry_points(group=registry.GROUP) if p.value.startswith("prunebench.")}
    assert ours == set(methods.SOURCES)
    used = {key for keys in methods.SOURCES.values() for key in keys}
    assert used | {"prunebench", "gpyopt2016"} == set(methods.entries())
    for entry in methods.entries().values():
        assert entry.count("{") == entry.count("}")
        assert {"title", "author", "year"} <= set(re.findall(r"^  (\w+) = ", entry, re.MULTILINE))


def test_what_was_compared_is_cited_once() -> None:
    assert cited("uniform,random") == {"prunebench"}
    assert "gpyopt2016" not in cited("bo")
    assert cited("bo,bo:preset=gpyopt2021") == cited("bo") | {"gpyopt2016"}
    text = methods.bibtex(agentspec.parse("ddpg,my_agent:MyAgent"))
    assert text.startswith("% no source is known here for: my_agent:MyAgent\n")
    assert "@version@" not in text
