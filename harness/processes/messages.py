"""Messages from a process to the one that started it, through a pipe; whoever reads never waits for the rest of one."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Iterator
from typing import Any

_HEAD = struct.Struct("!Q")
_CHUNK = 1 << 16
MOST = 1 << 28
"""The most bytes of a message. What is longer was not written by this program: a process may write anything."""


class GarbledError(ValueError):
    """The bytes that came are no message."""


def send(descriptor: int, message: Any) -> None:
    """Write a message, whole.

    Raises:
        OSError: nobody reads any more, or the descriptor is no longer this one's.
    """
    content = pickle.dumps(message)
    rest = memoryview(_HEAD.pack(len(content)) + content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


class Inbox:
    """The reading end of a pipe.

    Args:
        descriptor: its file descriptor, which is made one that does not block.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._bytes = bytearray()

    def read(self) -> Iterator[Any]:
        """The messages that are there, whole.

        Raises:
            EOFError: the other end is closed and all messages have been read.
            GarbledError: the bytes that came are no message.
        """
        ended = self._fill()
        while len(self._bytes) >= _HEAD.size:
            (length,) = _HEAD.unpack_from(self._bytes)
            if length > MOST:
                raise GarbledError(f"a message of {length} bytes")
            if len(self._bytes) < _HEAD.size + length:
                break
            content = bytes(self._bytes[_HEAD.size : _HEAD.size + length])
            del self._bytes[: _HEAD.size + length]
            try:
                message = pickle.loads(content)
            except Exception as error:  # whatever the bytes lead it to
                raise GarbledError(f"{type(error).__name__} while a message was read") from error
            yield message
        if ended:
            raise EOFError

    def _fill(self) -> bool:
        """Read what is there, at most one message's worth; whether the other end is closed."""
        while len(self._bytes) <= MOST:
            try:
                chunk = os.read(self._descriptor, _CHUNK)
            except BlockingIOError:
                return False
            if not chunk:
                return True
            self._bytes += chunk
        return False
