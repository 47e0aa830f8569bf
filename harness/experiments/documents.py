"""Files that users write, YAML or JSON: read with every mistake answered in one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, ScalarNode

from prunebench.envs.errors import did_you_mean
from prunebench.harness.errors import ConfigError

_EXPONENT = re.compile(r"[-+]?\d+(?:\.\d*)?[eE][-+]?\d+")
_SUFFIXES = (".yaml", ".yml", ".json")


def read(path: Path, what: str) -> Any:
    """The content of a YAML or JSON file as plain values.

    Args:
        path: the file.
        what: it is called in an error.

    Raises:
        ConfigError: there is no such file, or it is not YAML; names the file and, where it has one, the line.
    """
    if not path.is_file():
        raise ConfigError(f"{what} {str(path)!r}: no such file{_nearest(path)}")
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except UnicodeDecodeError:
        raise ConfigError(f"{what} {str(path)!r}: expected text in UTF-8") from None
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{what} {str(path)!r}{line}: {error.problem or error.context}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{what} {str(path)!r}: expected YAML: {' '.join(str(error).split())}") from error


class _Loader(yaml.SafeLoader):
    """Reads ``1e-3`` as a number, as YAML 1.2 does, and refuses a key that is given twice."""

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, ScalarNode) and key.value in seen:
                raise ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))


def _nearest(path: Path) -> str:
    """The nearest name among the files beside it, as the end of a message."""
    if not path.parent.is_dir():
        return ""
    names = [other.name for other in path.parent.iterdir() if other.suffix in _SUFFIXES]
    return did_you_mean(path.name, names, lambda name: str(path.with_name(name)))
