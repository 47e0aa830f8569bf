"""The agents: programs that search for pruning policies, on the Gymnasium interface alone."""
