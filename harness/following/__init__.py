"""Follows runs while they go on: what is new on disk, shown, or written for other tools."""
