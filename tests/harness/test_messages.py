"""What comes through a process's pipe, whole, in pieces, or no message at all."""

from __future__ import annotations

import contextlib
import os
import pickle
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunebench.harness.processes import messages
from prunebench.harness.processes.messages import GarbledError, Inbox


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for descriptor in (reading, writing):
        with contextlib.suppress(OSError):
            os.close(descriptor)


@given(st.lists(st.recursive(st.integers() | st.text(), st.lists)), st.integers(1, 60))
def test_messages_come_whole_however_they_are_cut(sent: list[object], piece: int) -> None:
    reading, writing = os.pipe()
    inbox, heard = Inbox(reading), []
    content = b"".join(struct.pack("!Q", len(p)) + p for p in map(pickle.dumps, sent))
    for start in range(0, len(content), piece):
        os.write(writing, content[start : start + piece])
        heard += list(inbox.read())
    os.close(writing)
    with pytest.raises(EOFError):
        list(inbox.read())
    os.close(reading)
    assert heard == sent


def test_what_is_sent_is_read(pipe: tuple[int, int]) -> None:
    inbox = Inbox(pipe[0])
    assert list(inbox.read()) == []
    messages.send(pipe[1], ("event", 1, None))
    messages.send(pipe[1], "second")
    assert list(inbox.read()) == [("event", 1, None), "second"]


def test_the_end_comes_after_the_last_message(pipe: tuple[int, int]) -> None:
    messages.send(pipe[1], "last")
    os.close(pipe[1])
    heard = []
    with pytest.raises(EOFError):
        heard.extend(Inbox(pipe[0]).read())  # extend takes what there was before the error
    assert heard == ["last"]


@pytest.mark.parametrize(
    "content",
    [b"x" * 8, struct.pack("!Q", 3) + b"abc", struct.pack("!Q", messages.MOST + 1)],
)
def test_what_is_no_message_is_said(pipe: tuple[int, int], content: bytes) -> None:
    os.write(pipe[1], content)
    with pytest.raises(GarbledError):
        list(Inbox(pipe[0]).read())


def test_half_a_message_is_waited_for_by_nobody(pipe: tuple[int, int]) -> None:
    os.write(pipe[1], struct.pack("!Q", 100) + b"a beginning")
    assert list(Inbox(pipe[0]).read()) == []


def test_nobody_reads_any_more(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    with pytest.raises(BrokenPipeError):
        messages.send(pipe[1], "anyone?")
