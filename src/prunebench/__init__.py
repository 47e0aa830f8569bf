"""A benchmark harness comparing auto-pruning agents for CNNs."""
