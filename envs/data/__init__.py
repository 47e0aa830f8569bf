"""Images and their splits, and the table of data sets."""
