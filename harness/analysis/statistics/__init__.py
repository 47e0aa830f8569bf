"""Tests, intervals and estimates of plain samples; know nothing of runs."""
