"""The record on disk: an experiment, the status and the lines of its runs, its manifest."""
