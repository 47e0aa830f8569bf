"""A Ray cluster for the time of a command: one of our own on this machine, or an existing one; never without token."""

from __future__ import annotations

import functools
import importlib
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from prunebench.envs import extras
from prunebench.harness.errors import ConfigError
from prunebench.harness.processes import variables
from prunebench.harness.processes.local import cores

_STORE_BYTES = 100 << 20  # of Ray's object store: nothing but events and ends goes through it
_PATIENCE = 10.0  # seconds for a cluster to answer

_TOKEN_HELP = (
    "RAY_AUTH_TOKEN_PATH has to name the file with the cluster's token (`ray get-auth-token --generate > FILE`), "
    "or RAY_AUTH_TOKEN to hold it"
)
# Asks, without a token, for what a cluster must not tell without one.
_PROBE = """
import sys
from ray._raylet import GcsClient
from ray.exceptions import AuthenticationError
try:
    GcsClient(address=sys.argv[1]).internal_kv_get(b"session_name", b"session", timeout=5)
except AuthenticationError:
    print("refused")
else:
    print("answered")
"""


def check(address: str | None) -> None:
    """Raise ConfigError or TaskError where it can be said, without loading Ray, that this will come to nothing."""
    extras.check("engine 'ray'", "ray")
    if address is None:
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in address:
        raise ConfigError(f"address {address!r}: expected host:port, as `ray start --head` prints it")
    if not _has_token():
        raise ConfigError(f"address {address!r}: no token: {_TOKEN_HELP}")


@contextmanager
def connected(address: str | None, cpus: int, gpus: float, variables: dict[str, str]) -> Iterator[Any]:
    """Be connected to a cluster; gives the module ``ray``. A cluster of our own ends with the connection.

    Args:
        address: ``host:port`` of an existing cluster; None starts one on this machine, for this machine alone.
        cpus: CPUs that a task asks for.
        gpus: GPUs that a task asks for.
        variables: environment variables of its processes.

    Raises:
        ConfigError: the cluster cannot be used; one line says why.
    """
    with ExitStack() as stack:
        if address is None:
            settings = stack.enter_context(_own_cluster(cpus))
        else:
            settings = stack.enter_context(_existing_cluster(address))
        ray = importlib.import_module("ray")
        if ray.is_initialized():
            raise ConfigError("engine 'ray': this process is connected to a Ray cluster already")
        _check_mode()
        _hush()
        stack.enter_context(_sigterm_kept())
        stack.callback(ray.shutdown)
        try:
            ray.init(
                **settings,
                runtime_env={"env_vars": variables},
                # Or it would put the working folder at the head of its workers' path.
                job_config=ray.job_config.JobConfig(_client_job=True),
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except Exception as error:
            raise ConfigError(f"engine 'ray': {' '.join(str(error).split())}") from error
        _check_nodes(ray, address, cpus, gpus)
        yield ray


@contextmanager
def _own_cluster(cpus: int) -> Iterator[dict[str, Any]]:
    """The arguments that start Ray on this machine, with a token of its own, listening on the loopback interface."""
    parent = "/tmp" if os.path.isdir("/tmp") else None  # paths of sockets must be short
    folder = Path(tempfile.mkdtemp(prefix="prunebench-", dir=parent))  # readable by this user alone
    try:
        token = folder / "token"
        token.touch(mode=0o600)
        token.write_text(_token())
        changes: dict[str, str | None] = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": None,
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_AUTO_CONNECT": "0",
            # Ray replaces a loopback address by an outward one, unless it takes the machine for one without clusters.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        }
        with variables.changed(changes):
            yield {
                "address": "local",
                "num_cpus": max(cores(), cpus),
                "include_dashboard": False,
                "object_store_memory": _STORE_BYTES,
                "_node_ip_address": "127.0.0.1",
                "_temp_dir": str(folder / "ray"),  # Ray opens it to everyone
            }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def _token() -> str:
    """The one token for all clusters of this process: Ray reads it once."""
    return secrets.token_hex(32)


@contextmanager
def _existing_cluster(address: str) -> Iterator[dict[str, Any]]:
    """The arguments that connect to a cluster, once it is known to be there and to ask for a token."""
    host, _, port = address.rpartition(":")
    with variables.changed({"RAY_AUTH_MODE": "token", "RAY_ENABLE_AUTO_CONNECT": "0"}):
        try:
            socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
        except OSError as error:
            raise ConfigError(f"address {address!r}: no cluster answers there: {error}") from error
        if _ask(address, RAY_AUTH_MODE="disabled") == "answered":
            raise ConfigError(
                f"address {address!r}: this cluster asks for no token: start every node with RAY_AUTH_MODE=token"
            )
        if _ask(address) != "answered":
            raise ConfigError(f"address {address!r}: the cluster refuses this token: {_TOKEN_HELP}")
        yield {"address": address}


def _has_token() -> bool:
    """Whether there is one where Ray looks for it."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return True
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    try:
        return bool(path.read_text().strip())
    except (OSError, UnicodeDecodeError):
        return False


def _ask(address: str, **changes: str) -> str:
    """Ask a cluster from a process with another environment; returns ``answered`` or ``refused``."""
    command = [sys.executable, "-P", "-c", _PROBE, address]
    try:
        process = subprocess.run(command, env=os.environ | changes, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        raise ConfigError(f"address {address!r}: no Ray cluster answers there") from None
    words = process.stdout.split()
    if not words:
        last = (process.stderr.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        raise ConfigError(f"address {address!r}: it cannot be found out whether the cluster asks for a token: {last}")
    return words[-1]


def _check_mode() -> None:
    """Ray reads its settings when it is first loaded: whoever did that before us may have done it without ours."""
    authentication = importlib.import_module("ray._private.authentication.authentication_utils")
    if not authentication.is_token_auth_enabled():
        raise ConfigError("engine 'ray': Ray was loaded without RAY_AUTH_MODE=token: set it before Python starts")


def _hush() -> None:
    """Ray prints on standard output what becomes of workers; here that comes as events and ends."""
    worker = importlib.import_module("ray._private.worker")
    worker.print_to_stdstream = lambda *_, **__: None  # type: ignore[attr-defined]


def _check_nodes(ray: Any, address: str | None, cpus: int, gpus: float) -> None:
    """A task that fits no node would wait for ever."""
    found = ray.get_runtime_context().gcs_address
    if address is None and not found.startswith("127."):
        raise ConfigError(f"engine 'ray': Ray was loaded before and listens on {found}: begin in a new process")
    resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(each.get("CPU", 0) >= cpus and each.get("GPU", 0) >= gpus for each in resources):
        wanted = f"{cpus} CPU" + (f" and {gpus:g} GPU" if gpus else "")
        raise ConfigError(f"engine 'ray': no node has what a run asks for: {wanted}")


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Ray has a handler of its own for SIGTERM, that it leaves behind."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)
