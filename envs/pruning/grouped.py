"""Grouped convolutions: their channels are removed by whole groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import nn

from prunebench.envs.errors import TaskError
from prunebench.envs.pruning.groups import ChannelGroup, LeftOut, Member, is_depthwise

Node = tuple[int, int]  # a channel group and a channel of it; (-1, 0) for channels that are never pruned


def join_grouped(groups: list[ChannelGroup], modules: Mapping[str, nn.Module]) -> tuple[list[ChannelGroup], LeftOut]:
    """Join the channel groups on the two sides of every grouped convolution.

    A convolution with G groups can lose whole groups: the inputs of a group go with its outputs. What was a channel
    becomes one of several that are removed together. Where one side of the convolution is never pruned the other
    one is not either.

    Args:
        groups: channel groups in which a grouped convolution is a producer or a consumer like any other.
        modules: the network's modules by name.

    Returns:
        The groups; and, by the name of a layer, why some cannot be joined: their channels do not fall into groups of
        one size, or are all tied.
    """
    start = np.cumsum([0] + [group.channels for group in groups])
    fixed = int(start[-1])
    links = [
        (fixed if g < 0 else start[g] + channel, fixed if h < 0 else start[h] + other)
        for (g, channel), (h, other) in _links(groups, modules)
    ]
    if not links:
        return groups, {}
    ends = np.array(links).T
    graph = coo_array((np.ones(len(links)), (ends[0], ends[1])), shape=(fixed + 1, fixed + 1))
    _, label = connected_components(graph, directed=False)
    labels = [label[start[g] : start[g + 1]].astype(np.int64) for g in range(len(groups))]
    joined: list[ChannelGroup] = []
    left_out: LeftOut = {}
    for together in _overlapping(labels):
        if not any(label[fixed] in labels[g] for g in together):
            try:
                joined.append(_join([groups[g] for g in together], [labels[g] for g in together]))
            except TaskError as error:
                left_out[groups[together[0]].members[0].name] = str(error)
    return joined, left_out


def _links(groups: list[ChannelGroup], modules: Mapping[str, nn.Module]) -> Iterator[tuple[Node, Node]]:
    """Pairs of channels that a grouped convolution ties: all of a group to the group's first input."""
    for name, module in modules.items():
        if isinstance(module, nn.Conv2d) and module.groups > 1 and not is_depthwise(module):
            inputs = _owners(groups, name, "in", module.in_channels).reshape(module.groups, -1, 2)
            outputs = _owners(groups, name, "out", module.out_channels).reshape(module.groups, -1, 2)
            for own in np.concatenate([inputs, outputs], axis=1):
                first, *others = (tuple(map(int, node)) for node in own)
                yield from (((first[0], first[1]), (other[0], other[1])) for other in others)


def _owners(groups: list[ChannelGroup], name: str, side: str, size: int) -> NDArray[np.int64]:
    """``(size, 2)``: the node that owns each position of one side of a module."""
    owners = np.tile(np.array([-1, 0]), (size, 1))
    for g, group in enumerate(groups):
        for member in group.members:
            if member.name == name and member.side == side:
                owners[member.positions] = np.stack([np.full(group.channels, g), np.arange(group.channels)], 1)[:, None]
    return owners


def _overlapping(labels: list[NDArray[np.int64]]) -> list[list[int]]:
    """Indices of the groups that share a label, together."""
    parts: list[tuple[set[int], list[int]]] = []
    for g, own in enumerate(labels):
        mine = [part for part in parts if part[0] & set(own.tolist())]
        parts = [part for part in parts if part not in mine]
        merged = set(own.tolist()).union(*(part[0] for part in mine)), sorted([g, *(i for p in mine for i in p[1])])
        parts.append(merged)
    return [members for _, members in parts]


def _join(groups: list[ChannelGroup], labels: list[NDArray[np.int64]]) -> ChannelGroup:
    _, first = np.unique(labels[0], return_index=True)
    order = {int(labels[0][n]): channel for channel, n in enumerate(np.sort(first))}
    members, sources = [], []
    for group, own in zip(groups, labels, strict=True):
        if set(own.tolist()) != set(order):
            raise TaskError(f"layer {group.members[0].name}: its channels do not go with groups of channels elsewhere")
        channel = np.array([order[int(n)] for n in own])
        by_channel = np.argsort(channel, kind="stable")
        if len(set(np.bincount(channel))) > 1:
            raise TaskError(f"layer {group.members[0].name}: its channels fall into groups of different sizes")
        for member in group.members:
            positions = member.positions[by_channel].reshape(len(order), -1)
            members.append(Member(member.name, member.module, member.side, positions))
        sources += [(source, channel[theirs]) for source, theirs in group.sources]
    return ChannelGroup(members, sources)
