"""A benchmark harness comparing auto-pruning agents for CNNs."""


def __getattr__(name: str) -> str:
    """``__version__``, read when it is asked for: importing this package imports nothing else."""
    if name == "__version__":
        from importlib.metadata import version

        return version("prunebench")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
