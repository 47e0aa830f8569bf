"""The work that is done inside the process of a run; imports torch."""
