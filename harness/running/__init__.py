"""The work of commands in their own process: runs, fine-tuning, export, scores, forecasts."""
