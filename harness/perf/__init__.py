"""What ``make perf`` and ``make latency`` measure."""
