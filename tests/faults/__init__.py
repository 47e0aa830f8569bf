"""Faults put into the real command, and what became of them: ``python -m faults`` prints the whole table."""
