"""What a user of Python is told: settings as they are typed there, ``out=`` where the command has ``--out``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from prunebench.harness.errors import USER_ERRORS

_QUOTED = r"`[^`]*`|(?<!\w)'[^']*'"
_FLAG = re.compile(rf"{_QUOTED}|(?<![\w-])--([a-z][a-z-]*)(?:=| (?=\d|'|\w+, not ))?")  # with a value's equals sign
_FIRST = re.compile(r"[a-z]+(-[a-z]+)+(?=[: ])")  # a setting's name, which a message begins with


@contextmanager
def in_keywords(**others: str) -> Iterator[None]:
    """Let errors of the user's name keywords, not flags. ``others``: keywords that are called otherwise than flags."""
    try:
        yield
    except USER_ERRORS as error:
        error.args = (worded(str(error), others),)
        raise


def worded(message: str, others: dict[str, str] | None = None) -> str:
    """A message with keywords in the place of flags."""

    def keyword(found: re.Match[str]) -> str:
        name = found[1] and found[1].replace("-", "_")
        return f"{(others or {}).get(name, name)}=" if name else found[0]

    first = _FIRST.match(message)
    begin = "" if first is None else first[0].replace("-", "_")
    return begin + _FLAG.sub(keyword, message[len(begin) :])
