"""The training of a dense network: its settings, and what it leaves on disk."""
