"""The pruning tasks and their scores: the environment ``prunebench/ChannelPruning-v0`` and all behind it."""

import gymnasium

gymnasium.register(
    id="prunebench/ChannelPruning-v0", entry_point="prunebench.envs.tasks.entry:make_channel_pruning_env"
)
