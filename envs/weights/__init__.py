"""Weights: read, trained, trained on, exported."""
