"""The parts that agents share: what they maximise, which policies they know, models, proposals, clusters, moves."""
