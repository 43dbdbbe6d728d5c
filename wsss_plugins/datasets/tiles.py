"""Training crops of photos of any size; only the crop is decoded and kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image, ImageOps

from wsss_plugins.datasets.photos import as_rgb, opened_image, read_image_size
from wsss_plugins.datasets.transforms import place_span
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import TRANSFORMS
from wsss_plugins.structures import IGNORE, load_label_map


@TRANSFORMS.register_module()
class LoadCrop(BaseTransform):
    """Reads a random crop of a photo at a random scale, and of its label map.

    Equals :class:`LoadImage`, :class:`ResizeLongSide` and :class:`RandomCropPad` in a
    row, without holding the resized photo in memory. A JPEG that is downscaled is
    decoded at 1/2, 1/4 or 1/8 of its size, and only the crop is kept.

    Source: Ahn and Kwak 2018, AffinityNet (PSA), training of the classifier.

    Args:
        size: ``(H, W)`` of the crop, or one number for both.
        low: Shortest length of the photo's longer side, in pixels, before the crop.
        high: Longest length, included. None keeps the photo's own size, for objects that
            are small in large photos.
        pad: Colour beside the photo; by default ImageNet's mean in RGB.
        seg_pad: Label beside the photo.

    Raises:
        ConfigError: A length is not positive, or ``low`` exceeds ``high``.
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        low: int | None = None,
        high: int | None = None,
        pad: Sequence[int] = (124, 116, 104),
        seg_pad: int = IGNORE,
    ) -> None:
        self.size = (size, size) if isinstance(size, int) else (size[0], size[1])
        bounds = [bound for bound in (low, high) if bound is not None]
        if len(bounds) == 1 or sorted(bounds) != bounds or min(bounds, default=1) < 1:
            raise ConfigError(
                f'LoadCrop needs 0 < low <= high, or neither; not low={low}, high={high}',
                token='LoadCrop',
            )
        self.low, self.high = low, high
        self.pad = tuple(pad)
        self.seg_pad = seg_pad

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds ``img``, ``img_shape``, ``ori_shape`` and, if asked for, ``gt_seg_map``."""
        own = read_image_size(results['img_path'])
        scaled = self._scaled(own)
        fixed = results.get('test_mode', False)
        pairs = zip(scaled, self.size, strict=True)
        spans = [place_span(old, new, fixed) for old, new in pairs]
        source = (spans[0][0], spans[1][0])
        target = (spans[0][1], spans[1][1])
        image = np.empty((*self.size, 3), np.uint8)
        image[...] = self.pad
        image[target] = read_crop(results['img_path'], scaled, *source)
        results.update(img=image, img_shape=self.size, ori_shape=own)
        if 'seg_map_path' in results:
            label = np.full(self.size, self.seg_pad, np.uint8)
            classes = len(results['gt_label']) + 1
            label[target] = _label_crop(
                results['seg_map_path'], classes, scaled, *source
            )
            results['gt_seg_map'] = label
            results['seg_fields'].append('gt_seg_map')
        return results

    def _scaled(self, own: tuple[int, int]) -> tuple[int, int]:
        """The size of the whole photo at a random scale."""
        if self.low is None or self.high is None:
            return own
        side = int(np.random.randint(self.low, self.high + 1))
        scale = side / max(own)
        height, width = (max(1, int(length * scale + 0.5)) for length in own)
        return height, width


def read_crop(
    path: Path | str, scaled: tuple[int, int], rows: slice, columns: slice
) -> np.ndarray:
    """A part of a photo that was resized, without resizing the whole.

    Args:
        path: The photo.
        scaled: ``(H, W)`` of the resized photo.
        rows: Rows of the resized photo to read.
        columns: Columns of the resized photo to read.

    Returns:
        ``(rows, columns, 3)`` uint8 RGB; bicubic, antialiased.

    Raises:
        DataError: The file is missing or cannot be decoded.
    """
    height, width = scaled
    size = (columns.stop - columns.start, rows.stop - rows.start)
    with opened_image(path) as image:
        lying = (image.width >= image.height) == (width >= height)
        # A JPEG is decoded at 1/2, 1/4 or 1/8, whatever is still as large as needed.
        image.draft('RGB', (width, height) if lying else (height, width))
        ImageOps.exif_transpose(image, in_place=True)
        across, down = image.width / width, image.height / height
        box = (
            columns.start * across,
            rows.start * down,
            columns.stop * across,
            rows.stop * down,
        )
        colours = as_rgb(image, path)
        return np.array(colours.resize(size, Image.Resampling.BICUBIC, box))


def _label_crop(
    path: str, classes: int, scaled: tuple[int, int], rows: slice, columns: slice
) -> np.ndarray:
    """The same part of its label map, nearest."""
    label = load_label_map(path, num_classes=classes)
    places = [
        ((np.arange(span.start, span.stop) + 0.5) * old / new).astype(np.int64)
        for span, old, new in zip((rows, columns), label.shape, scaled, strict=True)
    ]
    return label[np.ix_(*places)]
