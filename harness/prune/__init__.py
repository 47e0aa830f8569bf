"""One network pruned from end to end: searched, fine-tuned, exported, timed and reported."""
