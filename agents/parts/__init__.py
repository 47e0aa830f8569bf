"""What agents share: surrogate, proposal, clustering, moves."""
