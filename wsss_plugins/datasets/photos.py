"""Decoding photos: the one place where a file becomes ``(H, W, 3)`` uint8 RGB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps

from wsss_plugins.errors import DataError
from wsss_plugins.structures.decoding import opened_picture

REMEDY = 'replace the file or take its id out of the list'
DEPTHS = (8, 10, 12, 14, 16)
"""Bits of a value that cameras and scanners write into 16 bits."""


def read_image(path: Path | str) -> np.ndarray:
    """Decodes a photo; grey and palette pictures become RGB, EXIF rotation is applied.

    Values of more than 8 bits are scaled by :func:`to_uint8`. Pillow rather than OpenCV,
    because OpenCV returns a half-grey picture for a truncated JPEG. (The pixels of whole
    files are the same.)

    Args:
        path: Any format that Pillow reads.

    Returns:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        DataError: The file is missing or cannot be decoded, or its values fit no depth.
    """
    with opened_image(path) as image:
        return np.array(as_rgb(ImageOps.exif_transpose(image), path))


def read_image_size(path: Path | str) -> tuple[int, int]:
    """``(H, W)`` of a photo as :func:`read_image` returns it, from the file's header.

    Raises:
        DataError: The file is missing or no image.
    """
    with opened_image(path) as image:
        width, height = image.size
        return (width, height) if is_turned(image) else (height, width)


def is_turned(image: Image.Image) -> bool:
    """Whether the EXIF orientation of an opened photo exchanges its sides."""
    return image.getexif().get(ExifTags.Base.Orientation, 1) >= 5


@contextmanager
def opened_image(path: Path | str) -> Iterator[Image.Image]:
    """An opened photo, whose pixels are decoded when they are read.

    Args:
        path: The file.

    Yields:
        Pillow's image. One of three colours with 16 bits each, which Pillow would cut to
        their upper halves, is scaled by :func:`to_uint8`.

    Raises:
        DataError: The file is missing, no picture, damaged, or too large for memory.
    """
    with opened_picture(path, 'image', REMEDY) as image:
        yield _deep_colours(image, path) if _is_deep(image) else image


def as_rgb(image: Image.Image, path: Path | str) -> Image.Image:
    """A picture of any mode of Pillow as RGB with 8 bits for a value.

    Raises:
        DataError: The values of the picture fit no depth, see :func:`to_uint8`.
    """
    if image.mode == 'RGB':
        return image
    if image.mode == 'F' or image.mode.startswith('I'):
        image = Image.fromarray(to_uint8(np.asarray(image), path))
    return image.convert('RGB')


def to_uint8(values: np.ndarray, path: Path | str) -> np.ndarray:
    """Scales the values of a photo to 0..255 by the depth that they show.

    Whole numbers have the least depth of :data:`DEPTHS` that holds the largest of them;
    so 12 bits that lie in 16 become neither black nor white. Values up to 1, and
    fractions up to 1, are scaled from [0, 1]; larger fractions are of 0..255.

    Args:
        values: ``(H, W)`` or ``(H, W, 3)``, integers or floats.
        path: The file, for messages.

    Returns:
        The same shape, uint8.

    Raises:
        DataError: A value is negative, no number, or of more than 16 bits.
    """
    values = np.asarray(values, np.float64)
    low, high = values.min(), values.max()
    whole = bool(np.isfinite(low + high)) and not (values % 1).any()
    if not np.isfinite(values).all() or low < 0 or high > 2 ** DEPTHS[-1] - 1:
        raise DataError(
            f'image {path} has values from {low:g} to {high:g}: allowed are whole numbers '
            'of 8 to 16 bits (0 to 65535) and fractions in [0, 1]; save it with 8 bits'
        )
    if not whole and high > 255:
        raise DataError(
            f'image {path} has fractions up to {high:g}: allowed are fractions in [0, 1] '
            'or 0 to 255; save it with 8 bits'
        )
    if high <= 1:
        top = 1.0
    else:
        bits = next(bits for bits in DEPTHS if high < 2**bits)
        top = 2.0**bits - 1 if whole else 255.0
    return np.rint(values * (255.0 / top)).astype(np.uint8)


def _is_deep(image: Image.Image) -> bool:
    """Whether an opened picture has several channels of 16 bits."""
    if image.mode not in ('RGB', 'RGBA', 'LA'):
        return False
    for tile in getattr(image, 'tile', ()):
        given = tile[3]
        raw = given[0] if isinstance(given, tuple) and given else given
        if isinstance(raw, str) and ';16' in raw:
            return True
    return False


def _deep_colours(image: Image.Image, path: Path | str) -> Image.Image:
    """A picture of 16 bits for a channel, decoded by OpenCV, with its EXIF orientation."""
    image.load()  # refuses a file that is cut off, where OpenCV gives half a picture
    data = np.frombuffer(Path(path).read_bytes(), np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise ValueError('its 16 bits cannot be read')
    if pixels.ndim == 3:
        pixels = pixels[..., ::-1] if pixels.shape[2] == 3 else pixels[..., 2::-1]
    scaled = Image.fromarray(np.ascontiguousarray(to_uint8(pixels, path)))
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    scaled.getexif()[ExifTags.Base.Orientation] = orientation
    return scaled
