"""Class-agnostic segments of an image, from the files of any tool."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from wsss_plugins.errors import DataError
from wsss_plugins.structures.files import load_json
from wsss_plugins.structures.run_lengths import mask_of_lengths, run_lengths

SUFFIXES = ('.json', '.png')
"""Kinds of files with segments."""


def find_segments(folder: Path, name: str) -> Path:
    """The file with the segments of image ``name``.

    Args:
        folder: Folder of the files.
        name: Id of the image.

    Raises:
        DataError: The folder has neither ``<name>.json`` nor ``<name>.png``, or both.
    """
    paths = [folder / f'{name}{suffix}' for suffix in SUFFIXES]
    found = [path for path in paths if path.is_file()]
    if len(found) != 1:
        raise DataError(
            f'{folder} has {"both" if found else "neither"} {name}.json and {name}.png: '
            'give one file of segments for each image'
        )
    return found[0]


def load_segments(path: Path) -> np.ndarray:
    """Reads the segments of one image.

    A ``.json`` is a list of records, or a dict whose ``annotations`` are that list, as
    Segment Anything writes them with ``output_mode='coco_rle'``: the ``segmentation`` of a
    record is a dict of ``size`` ``(H, W)`` and ``counts``, the run lengths of COCO, as a
    list of numbers or compressed. A ``.png`` has the number of the segment in every pixel
    (8 or 16 bits); 0 is no segment.

    Args:
        path: The file.

    Returns:
        ``(n, H, W)`` bool, which may overlap in a ``.json``.

    Raises:
        DataError: The file is missing or damaged, or its segments are not of one size.
    """
    return _of_json(path) if path.suffix == '.json' else _of_png(path)


def _of_png(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            if image.mode not in ('1', 'L', 'P') and not image.mode.startswith('I'):
                raise DataError(
                    f'{path} is a colour picture (mode {image.mode}), and segments are '
                    'numbered: write the number of the segment in each pixel, 8 or 16 bits'
                )
            numbers = np.array(image)
    except FileNotFoundError as error:
        raise DataError(f'segments {path} do not exist') from error
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise DataError(
            f'segments {path} cannot be decoded ({error}): replace the file'
        ) from error
    return masks_of(numbers)


def masks_of(numbers: np.ndarray) -> np.ndarray:
    """Segments ``(n, H, W)`` bool from their numbers ``(H, W)``; 0 is no segment."""
    found = np.unique(numbers)
    return numbers == found[found != 0][:, None, None]


def _of_json(path: Path) -> np.ndarray:
    content = load_json(path)
    records = content.get('annotations') if isinstance(content, Mapping) else content
    if not isinstance(records, list):
        raise DataError(
            f'{path} holds no segments: allowed are a list of records or a dict with '
            "'annotations', each record with 'segmentation'"
        )
    if not records:
        raise DataError(
            f'{path} has no segment, so that the size of its image is unknown'
        )
    try:
        masks = [_mask(record['segmentation']) for record in records]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(
            f'{path}: a segment is no run-length code of COCO ({error}): write '
            "dict(size=[H, W], counts=...) as Segment Anything's output_mode='coco_rle'"
        ) from error
    sizes = sorted({mask.shape for mask in masks})
    if len(sizes) > 1:
        raise DataError(
            f'{path} has segments of {sizes[0]} and {sizes[1]} (height, width): the '
            'segments of one image are of one size'
        )
    return np.stack(masks)


def _mask(code: Mapping[str, Any]) -> np.ndarray:
    """The mask ``(H, W)`` bool of a run-length code."""
    height, width = (int(side) for side in code['size'])
    return mask_of_lengths(run_lengths(code['counts']), (height, width))
