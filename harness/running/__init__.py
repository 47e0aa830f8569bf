"""What a command does in its own process: runs, fine-tuning, export, scores, forecasts."""
