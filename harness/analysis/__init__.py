"""Numbers from the record: frames, statistics, comparisons, claims, verdicts."""
