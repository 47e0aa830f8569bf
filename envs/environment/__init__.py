"""The environment and what it is made of, in NumPy and Gymnasium alone: cost, budget, reward, the toy task."""
