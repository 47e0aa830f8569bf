"""What searches: the agents, on the Gymnasium interface alone."""
