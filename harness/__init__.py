"""Runs and reports: experiments, their processes, the record on disk, tables and the command line."""
