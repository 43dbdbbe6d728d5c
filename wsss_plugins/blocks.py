"""Resolves indices of an encoder's blocks, for all arguments that name blocks."""

from __future__ import annotations

from wsss_plugins.errors import ConfigError


def block_index(block: int, depth: int, argument: str = 'block') -> int:
    """The number of a block, which may be counted from the end as Python's lists do.

    Args:
        block: 0 to ``depth - 1``, or ``-depth`` to -1, where -1 is the last block.
        depth: How many blocks the encoder has.
        argument: The argument of the config that gave ``block``, for the message.

    Returns:
        0 to ``depth - 1``.

    Raises:
        ConfigError: The encoder has no such block.
    """
    if not isinstance(block, int) or not -depth <= block < depth:
        allowed = f'blocks 0 to {depth - 1} (or -{depth} to -1)' if depth else 'none'
        raise ConfigError(
            f'the backbone has {allowed}, not {block} ({argument})', token=argument
        )
    return block % depth
