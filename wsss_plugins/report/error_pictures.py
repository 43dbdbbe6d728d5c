"""Pictures of what is wrong in a label map, and of what differs between two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from PIL import Image

from wsss_plugins.report.markup import tag
from wsss_plugins.structures import IGNORE
from wsss_plugins.structures.pictures import photo_picture

ERROR_COLOURS = {
    'right': (0, 158, 115),
    'object taken for background': (213, 94, 0),
    'background taken for an object': (0, 114, 178),
    'one class taken for another': (204, 121, 167),
    'not counted': (240, 240, 240),
}
"""Colours of :func:`error_picture`, which people with any kind of colour vision tell apart
(Okabe and Ito, 2008)."""


CHANGE_COLOURS = {
    'right in the second alone': (0, 158, 115),
    'right in the first alone': (213, 94, 0),
    'different, and right in neither or not known': (0, 114, 178),
}
"""Colours of :func:`change_picture`."""


def colour_legend(colours: Mapping[str, tuple[int, int, int]]) -> str:
    """A list of what colours mean, as HTML.

    Args:
        colours: Such as :data:`ERROR_COLOURS`.
    """
    items = ''.join(
        tag(
            'li',
            tag('span', class_='swatch', style=f'background:rgb{colour}'),
            escape(name),
        )
        for name, colour in colours.items()
    )
    return tag('ul', items, class_='legend')


def error_picture(
    photo: np.ndarray, truth: np.ndarray, made: np.ndarray
) -> Image.Image:
    """The errors of a label map in :data:`ERROR_COLOURS` over the greyed photo, reduced.

    Args:
        photo: ``(H, W, 3)`` uint8.
        truth: ``(H, W)`` uint8, 255 where it is not known.
        made: ``(H, W)`` uint8; 255 counts as background.

    Returns:
        The picture; background that is right is grey.
    """
    made = np.where(made == IGNORE, 0, made)
    kinds = [
        (truth == made) & (made > 0),
        (truth > 0) & (made == 0),
        (truth == 0) & (made > 0),
        (truth > 0) & (made > 0) & (truth != made),
    ]
    kinds = [each & (truth != IGNORE) for each in kinds] + [truth == IGNORE]
    return painted(photo, kinds, list(ERROR_COLOURS.values()))


def change_picture(
    photo: np.ndarray, truth: np.ndarray | None, before: np.ndarray, after: np.ndarray
) -> Image.Image:
    """The differences of two label maps in :data:`CHANGE_COLOURS` over the greyed photo.

    Args:
        photo: ``(H, W, 3)`` uint8.
        truth: ``(H, W)`` uint8, 255 where it is not known; None without masks.
        before: ``(H, W)`` uint8, the first label map.
        after: ``(H, W)`` uint8, the second one.
    """
    changed = before != after
    known = np.full(changed.shape, IGNORE, np.uint8) if truth is None else truth
    right, lost = changed & (after == known), changed & (before == known)
    kinds = [right, lost, changed & ~right & ~lost]
    return painted(photo, kinds, list(CHANGE_COLOURS.values()))


def painted(
    photo: np.ndarray,
    masks: Sequence[np.ndarray],
    colours: Sequence[tuple[int, int, int]],
) -> Image.Image:
    """The greyed photo, reduced, with a colour over the pixels of each mask.

    Args:
        photo: ``(H, W, 3)`` uint8.
        masks: ``(H, W)`` bool each.
        colours: One for each mask.
    """
    grey = np.asarray(Image.fromarray(photo).convert('L'), np.float32)
    mixed = np.repeat(grey[..., None], 3, 2)
    for mask, colour in zip(masks, colours, strict=True):
        mixed[mask] = 0.4 * mixed[mask] + 0.6 * np.array(colour, np.float32)
    return photo_picture(mixed.round().astype(np.uint8))
