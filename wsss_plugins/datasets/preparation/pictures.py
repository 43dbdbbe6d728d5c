"""Decodes photos and masks completely, and converts masks to label maps."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from wsss_plugins.datasets.coco14 import COCO_CLASS_OF
from wsss_plugins.datasets.photos import is_turned
from wsss_plugins.errors import DataError
from wsss_plugins.structures import IGNORE, voc_palette
from wsss_plugins.structures.decoding import decoding

REMEDY = (
    'replace it, or put a whole one into a folder of the same name and give that as the '
    'last source'
)


@dataclass(frozen=True)
class Picture:
    """Size and mode of a decoded photo.

    Attributes:
        size: ``(H, W)`` as :func:`wsss_plugins.datasets.read_image` returns it.
        mode: Pillow's: 'RGB', 'L' (grey), 'CMYK' ...
    """

    size: tuple[int, int]
    mode: str


def check_photo(data: bytes, where: str) -> Picture:
    """Decodes a photo.

    Args:
        data: Content of the file.
        where: Its place, for the message.

    Raises:
        DataError: ``data`` is truncated or is not a picture.
    """
    with decoding(where, REMEDY), Image.open(io.BytesIO(data)) as image:
        image.load()
        width, height = image.size
        size = (width, height) if is_turned(image) else (height, width)
        return Picture(size, image.mode)


@dataclass(frozen=True)
class Mask:
    """A decoded mask.

    Attributes:
        labels: ``(H, W)`` uint8.
        coloured: Whether the file stores colours instead of indices.
    """

    labels: np.ndarray
    coloured: bool = False


def decode_mask(data: bytes, where: str) -> Mask:
    """Decodes a mask of indices, or one of VOC's colours.

    Args:
        data: Content of a PNG.
        where: Its place, for messages.

    Raises:
        DataError: ``data`` is truncated, or has a colour that no label has.
    """
    with decoding(where, REMEDY), Image.open(io.BytesIO(data)) as image:
        image.load()
        if image.mode in ('P', 'L', '1'):
            return Mask(np.array(image, np.uint8))
        if image.mode.startswith('I'):
            values = np.array(image)
            if values.min() < 0 or values.max() > IGNORE:
                raise DataError(
                    f'{where} has the value {values.max()}: masks have 0 to 255'
                )
            return Mask(values.astype(np.uint8))
        return Mask(
            labels_of_colours(np.array(image.convert('RGB')), where), coloured=True
        )


def labels_of_colours(colours: np.ndarray, where: str) -> np.ndarray:
    """Turns VOC's colours into labels: (128, 0, 0) is 1, (224, 224, 192) is 255.

    Args:
        colours: ``(H, W, 3)`` uint8 RGB.
        where: The file, for the message.

    Returns:
        ``(H, W)`` uint8.

    Raises:
        DataError: A colour is not in VOC's palette; the message names it and its
            position.
    """
    weights = np.array([1 << 16, 1 << 8, 1])
    palette = voc_palette().astype(np.int64) @ weights
    order = palette.argsort()
    codes = colours.astype(np.int64) @ weights
    at = np.searchsorted(palette[order], codes).clip(max=255)
    labels = order[at]
    wrong = np.argwhere(palette[labels] != codes)
    if len(wrong):
        row, column = wrong[0]
        colour = tuple(int(v) for v in colours[row, column])
        raise DataError(
            f'{where} has the colour {colour} at row {row}, column {column}, which is not in '
            "VOC's palette: use the PNG files of the data set, never JPEG or resized ones"
        )
    return labels.astype(np.uint8)


def labels_of_category_ids(ids: np.ndarray, where: str) -> np.ndarray:
    """Turns COCO's category ids (1 to 90 with gaps) into labels 1 to 80.

    Args:
        ids: ``(H, W)`` uint8; 0 is background, 255 ignored.
        where: The file, for the message.

    Returns:
        ``(H, W)`` uint8.

    Raises:
        DataError: A value is not a category id.
    """
    table = np.full(256, -1)
    table[[0, IGNORE]] = 0, IGNORE
    table[list(COCO_CLASS_OF)] = np.array(list(COCO_CLASS_OF.values())) + 1
    labels = table[ids]
    if (labels < 0).any():
        raise DataError(
            f'{where} has the value {ids[labels < 0][0]}, which is no category id of COCO: '
            'give --ids 80 if its values are those of the 80 classes'
        )
    return labels.astype(np.uint8)


def check_values(labels: np.ndarray, num_classes: int, where: str) -> None:
    """Refuses labels that are neither a class nor 255.

    Args:
        labels: ``(H, W)`` uint8.
        num_classes: Classes with background.
        where: The file, for the message.

    Raises:
        DataError: A value is neither a class nor 255; the message names it.
    """
    wrong = labels[(labels >= num_classes) & (labels != IGNORE)]
    if wrong.size:
        raise DataError(
            f'{where} has the value {wrong[0]}: allowed are 0 to {num_classes - 1} and '
            f'{IGNORE} (ignored)'
        )


def shown_classes(labels: np.ndarray) -> set[int]:
    """Classes ``c`` with a pixel of label ``c + 1``."""
    return {int(v) - 1 for v in np.unique(labels) if v not in (0, IGNORE)}
