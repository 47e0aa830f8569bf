"""Which channels go together, which go first, and the physically smaller network; the check that all of it is right."""
