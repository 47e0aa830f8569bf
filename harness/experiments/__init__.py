"""The experiments that are asked for: agents and their options, settings, files of settings, grids."""
