"""The measurements of ``make perf`` and ``make latency``."""
