"""Transforms that weakly-supervised classifiers need and mmcv and mmseg lack.

A sample is a dict with ``img`` ``(H, W, 3)`` uint8. :class:`LoadImage` gives
RGB, the order of our models and seeds; mmcv's ``LoadImageFromFile`` gives BGR.
A pipeline uses one of them, and its model's preprocessor says
``bgr_to_rgb=False`` or ``True`` to match. The other transforms of mmcv and mmseg
(``RandomFlip``, ``Resize``, ``PhotoMetricDistortion`` ...) work on both: hue and
saturation are jittered symmetrically. Randomness comes from numpy's global
generator, as in mmcv.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform, Resize

from wsss_plugins.datasets.photos import read_image
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import TRANSFORMS
from wsss_plugins.structures import IGNORE, load_label_map
from wsss_plugins.structures.sample import ClassSample


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Decodes ``img_path`` into ``img``, ``(H, W, 3)`` uint8 RGB.

    A broken file raises a ``DataError`` with its name, where mmcv's loader fails with
    an assertion or returns a half-grey picture.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds ``img``, ``img_shape`` and ``ori_shape``, both ``(H, W)``."""
        image = read_image(results['img_path'])
        size = image.shape[:2]
        results.update(img=image, img_shape=size, ori_shape=size)
        return results


@TRANSFORMS.register_module()
class LoadLabelMap(BaseTransform):
    """Reads ``seg_map_path`` into ``gt_seg_map``, ``(H, W)`` uint8.

    Unlike mmseg's ``LoadAnnotations`` it checks the values: those outside the
    sample's classes, other than 255, raise a ``DataError`` with the file's name.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds ``gt_seg_map`` and names it in ``seg_fields``."""
        results['gt_seg_map'] = load_label_map(
            results['seg_map_path'], num_classes=len(results['gt_label']) + 1
        )
        results['seg_fields'].append('gt_seg_map')
        return results


@TRANSFORMS.register_module()
class ResizeLongSide(BaseTransform):
    """Resizes the longer side to a random length, keeping the aspect ratio.

    mmcv's ``RandomResize`` draws a bound for each side; for nearly square images the
    bound of the shorter side would determine the size.

    Source: Ahn and Kwak 2018, AffinityNet (PSA), training of the classifier.

    Args:
        low: Shortest length in pixels.
        high: Longest length in pixels, included.
    """

    def __init__(self, low: int, high: int) -> None:
        if not 0 < low <= high:
            raise ConfigError(
                f'ResizeLongSide needs 0 < low <= high, not low={low}, high={high}',
                token='ResizeLongSide',
            )
        self.low, self.high = low, high

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resizes ``img`` (bicubic, antialiased) and ``gt_seg_map`` (nearest)."""
        side = int(np.random.randint(self.low, self.high + 1))
        resize = Resize(
            scale=(side, side),
            keep_ratio=True,
            interpolation='bicubic',
            backend='pillow',
        )
        return resize(results)


@TRANSFORMS.register_module()
class RandomCropPad(BaseTransform):
    """Crops a random window; where the image is smaller, pads at a random offset.

    Images of a data set in ``test_mode`` are cropped and padded in the middle, so that a
    measurement does not depend on the random seed. Each side is treated on its own. A
    transform that mirrors comes before this one, as it does not move ``img_box``.

    Source: Ahn and Kwak 2018, AffinityNet (PSA).

    Args:
        size: ``(H, W)`` of the result, or one number for both.
        pad: Colour of the padding, in the channel order of ``img``; by default
            ImageNet's mean in RGB, which is 0 after normalisation.
        seg_pad: Label of the padding.
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        pad: Sequence[int] = (124, 116, 104),
        seg_pad: int = IGNORE,
    ) -> None:
        self.size = (size, size) if isinstance(size, int) else (size[0], size[1])
        self.pad = tuple(pad)
        self.seg_pad = seg_pad

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crops and pads ``img`` and every map of ``seg_fields`` alike; adds ``img_box``."""
        image, fixed = results['img'], results.get('test_mode', False)
        spans = [
            place_span(old, new, fixed)
            for old, new in zip(image.shape[:2], self.size, strict=True)
        ]
        source = tuple(span[0] for span in spans)
        target = tuple(span[1] for span in spans)

        def place(array: np.ndarray, fill: Any) -> np.ndarray:
            """The crop of an array ``(H, W, ...)`` on a canvas of ``fill``."""
            canvas = np.empty((*self.size, *array.shape[2:]), array.dtype)
            canvas[...] = fill
            canvas[target] = array[source]
            return canvas

        results['img'] = place(image, self.pad)
        for key in results.get('seg_fields', ()):
            results[key] = place(results[key], self.seg_pad)
        results.update(img_shape=self.size, img_box=box_of(target))
        return results


def box_of(spans: Sequence[slice], factor: int = 1) -> tuple[int, int, int, int]:
    """``(y0, y1, x0, x1)``, half-open, of a span of rows and one of columns, times a factor."""
    rows, columns = spans
    y0, y1, x0, x1 = (
        factor * end for span in (rows, columns) for end in (span.start, span.stop)
    )
    return y0, y1, x0, x1


def place_span(old: int, new: int, fixed: bool = False) -> tuple[slice, slice]:
    """Where to read from ``old`` pixels and where to write in ``new``.

    Args:
        old: Length of the side that is read.
        new: Length of the side that is written.
        fixed: Whether to take the middle; otherwise the place is random.
    """
    room = abs(old - new)
    offset = room // 2 if fixed else int(np.random.randint(room + 1))
    length = min(old, new)
    inner, whole = slice(offset, offset + length), slice(0, length)
    return (inner, whole) if old >= new else (whole, inner)


@TRANSFORMS.register_module()
class DrawNumber(BaseTransform):
    """Adds ``draw``, a number that what a model draws for this image follows from.

    A model that draws with the generator of its process draws other numbers for an image
    with another number of workers. This one follows from seed, epoch and image alone.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds ``draw``, an int in [0, 2^31)."""
        results['draw'] = int(np.random.randint(2**31))
        return results


META_KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'img_box', 'draw')


@TRANSFORMS.register_module()
class PackClassInputs(BaseTransform):
    """Packs a sample for a classifier.

    Args:
        meta_keys: Keys that are copied to the metainfo of the ``ClassSample``.
    """

    def __init__(self, meta_keys: Sequence[str] = META_KEYS) -> None:
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Makes ``inputs`` ``(3, H, W)`` uint8 and ``data_samples``."""
        known = {key: results[key] for key in self.meta_keys if key in results}
        sample = ClassSample(metainfo=known)
        sample.gt_label = torch.from_numpy(results['gt_label'])
        if 'photo' in results:
            sample.photo = _channels_first(results['photo'])
        return dict(inputs=_channels_first(results['img']), data_samples=sample)


def _channels_first(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
