"""What happens inside the process of a run; imports torch."""
