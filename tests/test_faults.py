"""A short form of ``python -m faults``: misbehaving agents, three SIGKILLs, damaged files, two harnesses at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from faults import files, misbehaviour, sharing
from faults.__main__ import render
from faults.kills import Killing
from faults.kit import Row, Workplace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
KILLS = (["run"], ["driver"], ["group"])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    made = Workplace(tmp_path_factory.mktemp("faults") / "results")
    yield made
    assert made.left(0) == 0


def all_as_expected(rows: Iterable[Row]) -> None:
    table = list(rows)
    wrong = [row for row in table if row.ok is False]
    assert table
    assert not wrong, "\n" + render(wrong)


def test_every_misbehaving_agent_costs_its_own_run_alone(place: Workplace) -> None:
    all_as_expected(misbehaviour.rows(place, time_limit=12))


def test_damaged_files_are_mended(place: Workplace) -> None:
    all_as_expected(files.mended(place))


def test_killed_at_random_instants_it_ends_with_the_same_lines(place: Workplace) -> None:
    killing = Killing(place, lambda out: files.command(place, out), "killed", seed=1, window=8)
    for kinds in KILLS:
        while not sum(killing.kills[kind] for kind in kinds):  # there may have been no run to kill yet
            killing.kill(kinds)
    all_as_expected([killing.finished(misbehaviour.UNDISTURBED, len(KILLS))])


def test_two_harnesses_share_an_experiment(place: Workplace) -> None:
    command = files.command(place, "shared")
    all_as_expected(sharing.shared(place, command, command, misbehaviour.UNDISTURBED))
