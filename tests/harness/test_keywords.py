"""Messages in Python name keywords, and leave alone what else looks like a flag."""

from __future__ import annotations

import pytest

from prunebench.harness.keywords import worded


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("name another folder with --out", "name another folder with out="),
        ("expected --epochs 0, which leaves", "expected epochs=0, which leaves"),
        ("tf32 is a GPU's: name --device cuda, not 'cpu'", "tf32 is a GPU's: name device=cuda, not 'cpu'"),
        ("latency-ms 1: expected no --time-limit beside it", "latency_ms 1: expected no time_limit= beside it"),
        ("no folder; expected val in --data", "no folder; expected val in folder="),
        ("out '/tmp/a --b': as `ray start --head` prints it", "out '/tmp/a --b': as `ray start --head` prints it"),
    ],
)
def test_flags_become_keywords(message: str, said: str) -> None:
    assert worded(message, {"data": "folder"}) == said
