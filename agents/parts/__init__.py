"""The parts that agents share: surrogate, proposal, clustering, moves."""
