"""From channel counts to accuracy: calibration, reconstruction, the evaluator, timing and latency."""
