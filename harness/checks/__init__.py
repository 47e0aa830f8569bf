"""The contract of agents, checked on a toy task."""
