"""Every way of breaking the contract gets its sentence; agents that keep it pass, whatever they are made of."""

from __future__ import annotations

import os
import re
import sqlite3
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract_agents import (
    Abandoning,
    Capricious,
    ClaimsToBeDeterministic,
    Continuing,
    Excusing,
    Gives,
    Global,
    Idle,
    Late,
    Misspelt,
    NeedsTwoLayers,
    NoReset,
    NoSearch,
    NoSeed,
    Notes,
    OneRatio,
    Overspends,
    Peeks,
    Plain,
    Quitter,
    Restless,
    RoomForFifty,
    SeedBlind,
    Standardises,
    Stubborn,
    Writes,
)

from prunebench.agents.greedy import GreedyAgent
from prunebench.agents.random_search import RandomSearchAgent
from prunebench.harness.checks import contract
from prunebench.harness.checks.contract import CHECKS, ContractError, check_agent, parametrize_with_checks
from prunebench.harness.commands.check_agent import command as check_agent_command


@pytest.mark.parametrize(
    ("factory", "sentence"),
    [
        (
            Overspends,
            "search(env, 12) with seed 0 on 8 layers (budget wall) steps into evaluation 13: expected no step",
        ),
        (Stubborn, "search(env, 12) with seed 0 on 8 layers (budget wall) steps into evaluation 13: expected no step"),
        (Excusing, "search(env, 12) with seed 0 on 8 layers (budget wall) steps into evaluation 13: expected no step"),
        (Quitter, "ends after 7 of 12 evaluations: expected all of them, or the tag 'may_stop_early'"),
        (Abandoning, "ends after 11 of 12 evaluations and 3 of 8 layers of the next: expected all of them"),
        (Idle, "ends without a finished evaluation: expected at least 1"),
        (NoReset, "steps without a reset before evaluation 2: expected a reset before every episode"),
        (partial(Gives, np.zeros(2)), "gives layer 5 in evaluation 3 an action of shape (2,): expected shape (1,)"),
        (partial(Gives, 0.5), "gives layer 5 in evaluation 3 an action of shape (): expected shape (1,)"),
        (partial(Gives, [1.5]), "gives layer 5 in evaluation 3 the action 1.5: expected a finite number in [0, 1]"),
        (partial(Gives, [np.nan]), "gives layer 5 in evaluation 3 the action nan: expected a finite number in [0, 1]"),
        (
            partial(Gives, ["half"]),
            "gives layer 5 in evaluation 3 the action ['half']: expected an array of one number",
        ),
        (Capricious, "repeated, gives layer 1 in evaluation 1 the ratio 0."),
        (Continuing, "expected the same policies from the same seed"),
        (
            SeedBlind,
            "search(env, 24) with seed 1 on 2 layers (budget wall) gives the same policies as seed 0: expected others",
        ),
        (ClaimsToBeDeterministic, "gives other policies than seed 0: expected the same, or no tag"),
        (Misspelt, "Misspelt has the tags ('determinstic',): expected a set of some of"),
        (NeedsTwoLayers, "on 1 layer (budget wall) raises ZeroDivisionError: division by zero (at "),
        (RoomForFifty, "search(env, 4) with seed 0 on 60 layers (budget wall) raises ValueError: could not broadcast"),
        (Standardises, "(budget wall, constant rewards) raises ZeroDivisionError: division by zero (at "),
        (NoSeed, "NoSeed(seed=0) raises TypeError: NoSeed.__init__() got an unexpected keyword argument 'seed'"),
        (NoSearch, "NoSearch(seed=0) gives a NoSearch without search: expected search(env, evaluations)"),
        (Peeks, "raises AttributeError: 'ContractEnv' object has no attribute 'evaluator' (at "),
        (partial(Notes, ["a"]), "leaves notes that are of type list: expected a dict of plain values"),
        (partial(Notes, {"a": np.zeros(2)}), "JSON cannot hold (TypeError: Object of type ndarray is not JSON"),
        (partial(Notes, {"a": float("nan")}), "JSON cannot hold (ValueError: Out of range float values"),
    ],
)
def test_breaking_the_contract_gets_one_sentence(factory: Any, sentence: str) -> None:
    with pytest.raises(ContractError, match=re.escape(sentence)) as caught:
        check_agent(factory)
    assert len(str(caught.value).splitlines()) == 1


def test_an_exception_is_placed_in_the_agents_file_and_kept() -> None:
    with pytest.raises(ContractError, match=r"contract_agents\.py:\d+\), after 12 of 12 evaluations") as caught:
        contract.check_constant_rewards(Standardises)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def write(path: Any) -> None:
    Path(path).write_text("something")


def connect(path: Path) -> None:
    sqlite3.connect(path).close()


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        (lambda place: write("log.txt"), "leaves 'log.txt' in the working directory: expected nothing to be written"),
        (lambda place: os.mkdir("runs"), "leaves 'runs' in the working directory"),
        (lambda place: tempfile.mkdtemp(prefix="tuning"), "leaves 'tuning"),
        (lambda place: write(place / "log.txt"), "writes to '{place}/log.txt': expected nothing to be written to disk"),
        (lambda place: os.close(os.open(place / "log", os.O_CREAT | os.O_WRONLY)), "writes to '{place}/log'"),
        (lambda place: os.makedirs(place / "a" / "b", exist_ok=True), "writes to '{place}/a'"),
        (lambda place: os.remove(place / "precious"), "writes to '{place}/precious'"),
        (lambda place: os.rename(place / "precious", place / "moved"), "writes to '{place}/moved'"),
        (lambda place: connect(place / "trials.db"), "writes to '{place}/trials.db'"),
    ],
)
def test_what_it_writes_is_named(how: Any, sentence: str, tmp_path: Path) -> None:
    place = tmp_path.resolve()

    with pytest.raises(ContractError, match=re.escape(sentence.format(place=place))):
        contract.check_writes_nothing(partial(Writes, partial(only_watched, place, how)))


def only_watched(place: Path, how: Any) -> None:
    """Do it in the second search; the first is the throw-away one, which is not watched."""
    if (place / "searched").exists():
        how(place)
    else:
        (place / "searched").touch()
        (place / "precious").touch()


def harmless(place: Path) -> None:
    """Reads, uses a temporary file, prints, and asks for folders that are there."""
    (place / "input").read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "scratch")
    with open(os.devnull, "w") as nothing:
        print("searching", file=nothing)
    os.makedirs(place, exist_ok=True)
    sqlite3.connect(":memory:").close()
    (place / "__pycache__").mkdir(exist_ok=True)
    write(place / "__pycache__" / "agent.cpython-311.pyc.140")
    print("done")


def test_what_leaves_nothing_behind_may_be_done(tmp_path: Path) -> None:
    (tmp_path / "input").touch()
    before = os.getcwd(), tempfile.gettempdir(), os.environ.get("TMPDIR")
    contract.check_writes_nothing(partial(Writes, partial(harmless, tmp_path)))
    assert (os.getcwd(), tempfile.gettempdir(), os.environ.get("TMPDIR")) == before


@pytest.mark.parametrize(
    "factory", [Plain, Global, OneRatio, Restless, Late, partial(Notes, None), lambda seed: Plain(seed=seed)]
)
def test_keeping_the_contract_passes(factory: Any) -> None:
    begun: list[str] = []
    check_agent(factory, on_check=begun.append)
    assert begun == [check.__name__ for check in CHECKS]


@pytest.mark.parametrize(("factory", "remarks"), [(Plain, 1), (RandomSearchAgent, 0), (GreedyAgent, 0)])
def test_a_budget_that_makes_other_policies_is_a_remark(factory: Any, remarks: int) -> None:
    said = contract.remarks(factory)
    assert len(said) == remarks
    assert all(re.match(r"in \d+ of 12 episodes the budget made another policy of the one asked for", s) for s in said)


def test_the_command_says_what_it_is_at_and_what_it_remarks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("prunebench.harness.display._SILENCE", 0.0)
    assert check_agent_command.callback is not None
    assert check_agent_command.callback("contract_agents:Plain") == 0
    out, err = capsys.readouterr()
    assert out == f"contract_agents:Plain keeps the contract ({len(CHECKS)} checks)\n"
    lines = err.splitlines()
    assert "checking: 1/10, evaluations, search 2" in err
    assert lines[-1].startswith("contract_agents:Plain: in ")


def test_checks_are_tests_with_readable_names() -> None:
    listed = parametrize_with_checks([Plain, partial(Notes, {})])
    assert listed.args[0] == ("check", "factory")
    ids = [case.id for case in listed.args[1]]
    assert len(ids) == 2 * len(CHECKS)
    assert {"check_same_seed_same_policies-Plain", "check_notes-Notes"} < set(ids)
    named = parametrize_with_checks({"mine": Plain})
    assert named.args[1][0].id == "check_construction-mine"
    assert named.args[1][0].values == (contract.check_construction, Plain)


@parametrize_with_checks([Plain])
def test_the_form_for_pytest(check: Any, factory: Any) -> None:
    check(factory)
