"""Figures: drawn from results, the list of all, how they look, and their files."""
