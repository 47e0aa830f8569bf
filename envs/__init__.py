"""What is pruned and how it is scored: the environment ``prunebench/ChannelPruning-v0``."""

import gymnasium

gymnasium.register(
    id="prunebench/ChannelPruning-v0", entry_point="prunebench.envs.tasks.entry:make_channel_pruning_env"
)
