"""A benchmark harness comparing auto-pruning agents for CNNs: run it, look at what it found, prune with it.

The functions do what the command's of the same names do, and ``Agent`` and ``AskTellAgent`` are base classes for agents
of your own. Importing this package imports nothing else: each name is imported when it is first used.
"""

import sys
from typing import TYPE_CHECKING

if sys.platform == "win32":
    _REFUSED = (
        "prunebench runs on Linux and macOS, not on Windows: its runs are processes of a fork server, and lock their "
        "files with fcntl, which Windows lacks; the Windows Subsystem for Linux has both"
    )
    if sys.argv[0].replace("\\", "/").rpartition("/")[2].partition(".")[0] in ("prunebench", "-m"):  # as a command
        print(f"prunebench: error: {_REFUSED}", file=sys.stderr)
        raise SystemExit(2)
    raise ImportError(_REFUSED)

if TYPE_CHECKING:
    from prunebench.agents.base import Agent, AskTellAgent
    from prunebench.envs.networks.models import register as register_network
    from prunebench.harness.api import bench, export, finetune, load_results, merge, prune, score, train, verify
    from prunebench.harness.checks.contract import check_agent

    __version__: str
else:
    _HOMES = {
        "Agent": "prunebench.agents.base:Agent",
        "AskTellAgent": "prunebench.agents.base:AskTellAgent",
        "check_agent": "prunebench.harness.checks.contract:check_agent",
        "register_network": "prunebench.envs.networks.models:register",
        **{
            name: f"prunebench.harness.api:{name}"
            for name in ("bench", "export", "finetune", "load_results", "merge", "prune", "score", "train", "verify")
        },
    }

    def __getattr__(name):
        """A name of this package, imported when it is asked for."""
        if name == "__version__":
            from importlib.metadata import version

            return version("prunebench")
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from pkgutil import resolve_name

        return globals().setdefault(name, resolve_name(_HOMES[name]))

    def __dir__():
        return sorted({*globals(), *__all__})


__all__ = [
    "Agent",
    "AskTellAgent",
    "__version__",
    "bench",
    "check_agent",
    "export",
    "finetune",
    "load_results",
    "merge",
    "prune",
    "register_network",
    "score",
    "train",
    "verify",
]
