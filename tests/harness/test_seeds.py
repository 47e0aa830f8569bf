"""Seeds as they are written, and who gets which runs of a job array."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunebench.harness import seeds
from prunebench.harness.errors import ConfigError
from prunebench.harness.experiments.config import ExperimentConfig, grown


@given(st.sets(st.integers(0, 40), min_size=1))
def test_what_is_written_is_read_back(some: set[int]) -> None:
    assert seeds.parse(seeds.write(some)) == tuple(sorted(some))


@pytest.mark.parametrize(
    ("written", "read", "shortest"),
    [
        (3, (0, 1, 2), 3),
        ("3", (0, 1, 2), 3),
        ("0-4", (0, 1, 2, 3, 4), 5),
        ("5-7", (5, 6, 7), "5-7"),
        ("7-7", (7,), "7-7"),
        (" 7, 0 - 2,1", (0, 1, 2, 7), "0-2,7"),
    ],
)
def test_how_many_or_which(written: int | str, read: tuple[int, ...], shortest: int | str) -> None:
    assert seeds.parse(written) == read
    assert seeds.write(read) == shortest


@pytest.mark.parametrize(
    "written", [0, -1, True, 2.5, None, [1], "", "0", "-1", "many", "5-", "3-1", "1,,2", "0-9999999"]
)
def test_what_is_no_set_of_seeds_is_refused(written: int | str) -> None:
    with pytest.raises(ConfigError, match=r"^seeds .*: expected how many, as 5, or which, as 5-9 or 0-2,7"):
        seeds.parse(written)


@given(agents=st.integers(1, 9), count=st.integers(1, 9), shards=st.integers(1, 40))
def test_shards_share_all_runs_evenly(agents: int, count: int, shards: int) -> None:
    labels = [f"a{number}" for number in range(agents)]
    whole = ExperimentConfig(agents=labels, seeds=count)
    parts = [ExperimentConfig(agents=labels, seeds=count, shard=f"{i + 1}/{shards}").runs() for i in range(shards)]
    assert Counter(run for part in parts for run in part) == Counter(whole.runs())  # each run once
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    if shards <= count:
        of_each = [Counter(label for label, _ in part) for part in parts]
        spread = [counts[label] for counts in of_each for label in labels]
        assert max(spread) <= -(-count // shards) + 1


@given(agents=st.integers(1, 9), shards=st.integers(1, 12), count=st.integers(1, 9))
def test_a_shard_keeps_its_runs_when_seeds_are_added(agents: int, shards: int, count: int) -> None:
    labels = [f"a{number}" for number in range(agents)]
    before = ExperimentConfig(agents=labels, seeds=count, shard=f"1/{shards}")
    assert set(before.runs()) <= set(grown(before, {labels[0]: (20, 30), labels[-1]: range(12)}).runs())


def test_agents_may_have_seeds_of_their_own() -> None:
    config = ExperimentConfig(agents=("random", "bo"), seeds={"bo": "0-2,7", "random": 2})
    assert config.seeds == (("random", 2), ("bo", "0-2,7"))
    assert config.runs() == [("random", 0), ("bo", 0), ("random", 1), ("bo", 1), ("bo", 2), ("bo", 7)]
    assert ExperimentConfig(agents=("random", "bo"), seeds={"random": "0-1", "bo": 2}).seeds == 2
