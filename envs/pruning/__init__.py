"""Groups of channels, their importance, and the physically smaller network; the check that all of it is right."""
