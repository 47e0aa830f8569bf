"""Finds what a user names as ``package.module:name``: a network or agent of their own, which need not be installed."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from prunebench.envs import cache
from prunebench.envs.errors import TaskError

_NAME = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*)")


@dataclass(frozen=True)
class Named:
    """A kind of thing that users name in this form.

    Attributes:
        what: the word for it in errors, as ``model``.
        example: an example of a name.
        kind: the word for what stands behind the colon, as ``function``.
    """

    what: str
    example: str
    kind: str

    def check(self, name: str) -> None:
        """Raise TaskError unless the name is of that form and its package exists; imports nothing."""
        package = self._split(name)[0].partition(".")[0]
        if _found(package) is None:
            raise self._missing(name, package)

    def load(self, name: str) -> Callable[..., Any]:
        """Import what the user named.

        Raises:
            TaskError: there is no such module or nothing callable in it, or importing it fails.
        """
        module_name, own_name = self._split(name)
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
                raise self._missing(name, error.name) from error
            raise TaskError(f"{self.what} {name!r}: importing {module_name} fails: {reason(error)}") from error
        except (Exception, SystemExit) as error:
            raise TaskError(f"{self.what} {name!r}: importing {module_name} fails: {reason(error)}") from error
        found = getattr(module, own_name, None)
        if not callable(found):
            missing = f"module {module_name} has no {self.kind} {own_name!r}{_hidden(module_name)}"
            raise TaskError(f"{self.what} {name!r}: {missing}")
        return found

    def name_of(self, found: Callable[..., Any]) -> str:
        """The name of a function or class by which other processes can import it.

        Raises:
            TaskError: there is none, as of a lambda, of what stands in another function, or in a notebook.
        """
        own_name = getattr(found, "__qualname__", type(found).__name__)
        module = _module_of(found)
        if module is not None and own_name.isidentifier():
            name = f"{module}:{own_name}"
            self.check(name)
            return name
        raise TaskError(
            f"{self.what} {own_name!r}: every run is a process of its own, which cannot import it from here: "
            f"expected a {self.kind} at the top of a file, as {self.example}"
        )

    def _split(self, name: str) -> tuple[str, str]:
        """Module and name within it; makes the working folder importable, after what is installed: it hides nothing."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise TaskError(f"{self.what} {name!r}: expected package.module:{self.kind}, as {self.example}")
        if not {"", os.getcwd()} & set(sys.path):
            sys.path.append(os.getcwd())
        return match[1], match[2]

    def _missing(self, name: str, module: str) -> TaskError:
        where = _hidden(module) or f" among the installed packages or in {os.getcwd()!r}"
        return TaskError(f"{self.what} {name!r}: no module {module!r}{where}")


def _module_of(found: Callable[..., Any]) -> str | None:
    """The module that something stands in; of a script that is being run its file's name. None in a notebook."""
    module = getattr(found, "__module__", None)
    if module != "__main__":
        return module
    script = getattr(sys.modules["__main__"], "__file__", None)
    return Path(script).stem if script is not None and Path(script).suffix == ".py" else None


def _found(package: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(package)
    except ValueError:  # a module without a specification, as __main__
        return None


def _hidden(module: str) -> str:
    """That a module's package is not the one of the same name in the working folder; nothing where that is not so."""
    package = module.partition(".")[0]
    own = {path.resolve() for path in (Path(package), Path(f"{package}.py")) if path.exists()}
    found = _found(package)
    if not own or found is None:
        return ""
    first = [Path(place).resolve() for place in found.submodule_search_locations or [found.origin or "built in"]]
    if own & set(first):
        return ""
    return f": the installed {package!r} ({first[0]}) comes before the one in {os.getcwd()!r}: give yours another name"


def source_hash(found: Callable[..., Any]) -> str:
    """SHA-256 of the file that a function or class stands in; what that file imports is not part of it."""
    try:
        file = inspect.getsourcefile(inspect.unwrap(found))
    except TypeError:  # a callable object, or built in
        file = inspect.getsourcefile(type(found))
    return "" if file is None else cache.sha256(Path(file))


def file_hash(module: str) -> str | None:
    """SHA-256 of a module's file, found without importing the module (its packages are); None where it has none."""
    try:
        found = importlib.util.find_spec(module)
    except Exception:  # whatever a package raises while it is imported
        return None
    file = found.origin if found and found.has_location else None
    return cache.sha256(Path(file)) if file else None


def reason(error: BaseException) -> str:
    """An error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
