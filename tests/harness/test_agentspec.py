"""How agents are named, and where their runs lie."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments.agentspec import AgentSpec, folder_name, parse
from prunebench.harness.experiments.config import ExperimentConfig, with_controls


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("uniform random", [("uniform", {}), ("random", {})]),
        (" uniform,random ,  bo", [("uniform", {}), ("random", {}), ("bo", {})]),
        ("bo:preset=modern,initial=5,ddpg", [("bo", {"preset": "modern", "initial": 5}), ("ddpg", {})]),
        ("bo:initial=5 bo:initial=6", [("bo", {"initial": 5}), ("bo", {"initial": 6})]),
        ("a_b.c:Class", [("a_b.c:Class", {})]),
        ("a_b.c:Class:step=1e-3", [("a_b.c:Class", {"step": 0.001})]),
        ("a:x=True,y=None,z=false", [("a", {"x": True, "y": None, "z": False})]),
        ('a:x="5",y="a, b:c=d",b', [("a", {"x": "5", "y": "a, b:c=d"}), ("b", {})]),
        ("a:x=b:c", [("a", {"x": "b:c"})]),
        ('a:x=[1, 2],y=["a,b", [3]] b', [("a", {"x": [1, 2], "y": ["a,b", [3]]}), ("b", {})]),
        ("a:x=", [("a", {"x": ""})]),
        ("", []),
        (" , ", []),
    ],
)
def test_command_lines(text: str, expected: list[tuple[str, dict[str, Any]]]) -> None:
    assert [(agent.name, dict(agent.options)) for agent in parse(text)] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("initial=5,bo", "option 'initial=5' stands before any agent"),
        ("bo:=5", "expected key=value"),
        ("bo:a=1,a=2", "option 'a' is given twice"),
    ],
)
def test_wrong_command_lines(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(text)


def test_the_order_of_options_makes_no_difference() -> None:
    assert parse("bo:initial=5,preset=modern") == parse("bo:preset=modern,initial=5")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)
OPTIONS = st.dictionaries(st.from_regex(r"[a-z_]{1,5}", fullmatch=True), VALUES, max_size=3)


@given(OPTIONS)
def test_experiment_files_bring_back_what_was_written(options: dict[str, Any]) -> None:
    agent = AgentSpec.make("my.module:Agent", options)
    assert AgentSpec.from_plain(agent.to_plain()) == agent
    assert ExperimentConfig(agents=(agent,)).agent(agent.label) == agent


@given(st.lists(OPTIONS, min_size=1, max_size=3))
def test_labels_are_command_lines(several: list[dict[str, Any]]) -> None:
    agents = [AgentSpec.make("bo", options) for options in several]
    assert parse(" ".join(agent.label for agent in agents)) == agents


@given(OPTIONS, OPTIONS)
def test_different_agents_have_different_folders(first: dict[str, Any], second: dict[str, Any]) -> None:
    labels = {AgentSpec.make(name, options).label for name in ("a", "a.b:C") for options in (first, second)}
    folders = {folder_name(label) for label in labels}
    assert len(folders) == len(labels)
    for folder in folders:
        assert "/" not in folder
        assert len(folder.encode()) < 200


@pytest.mark.parametrize("item", [3, None, "a b", "", {"a": {}, "b": {}}, {"a": 3}, {3: {}}, {"a": {"x": {1, 2}}}])
def test_other_things_in_an_experiment_file_are_refused(item: Any) -> None:
    with pytest.raises(ConfigError):
        AgentSpec.from_plain(item)


def test_missing_controls_are_added_before_the_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # of the toys
    agents = with_controls(parse("bo random"))
    assert [agent.label for agent in agents] == ["uniform", "global", "greedy", "bo", "random"]
    assert with_controls(agents) == agents


def test_brackets_without_end_are_text() -> None:
    (found,) = parse(f"bo:initial={'[' * 100_000}")
    assert dict(found.options)["initial"] == "[" * 100_000
