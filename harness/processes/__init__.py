"""Starts, watches and ends processes, on this machine or on several; knows nothing of experiments."""
