"""A task: its settings, its preparation, and what it will take."""
