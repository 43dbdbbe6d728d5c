"""Transforms for the training of AffinityNet and IRNet on confident labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform, Resize

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.registry import TRANSFORMS
from wsss_plugins.structures import load_npz
from wsss_plugins.structures.label_map import IGNORE
from wsss_plugins.structures.layout import confident_scores_path


@TRANSFORMS.register_module()
class LoadConfidentScores(BaseTransform):
    """Reads the scores from which confident labels are made.

    A ``ConfidentLabelStage`` writes ``scores/<id>.npz`` beside its folder of label
    maps: ``low`` and ``high``, each ``(1 + K, H, W)`` uint8 in units of 1 / 255,
    background first. Training crops and pools scores, not labels, as PSA does.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds ``gt_seg_map`` ``(H, W, 2 + 2 K)`` float32: low, then high.

        Raises:
            DataError: The file is missing, damaged, or of another size than the image.
        """
        stage = Path(results['seg_map_path']).parents[1]
        path = confident_scores_path(stage, results['img_id'])
        arrays = load_npz(path)
        missing = {'low', 'high'} - set(arrays)
        if missing:
            raise DataError(
                f'{path} lacks {" and ".join(sorted(missing))}: the folder of label maps '
                'must be that of a ConfidentLabelStage'
            )
        scores = (
            np.concatenate([arrays['low'], arrays['high']]).astype(np.float32) / 255
        )
        size = tuple(results.get('ori_shape', scores.shape[1:])[:2])
        if scores.shape[1:] != size or len(scores) % 2:
            raise DataError(
                f'{path} has scores {arrays["low"].shape} and {arrays["high"].shape} for '
                f'an image of {size}: run its stage again'
            )
        results['gt_seg_map'] = np.ascontiguousarray(scores.transpose(1, 2, 0))
        results['seg_fields'].append('gt_seg_map')
        return results


@TRANSFORMS.register_module()
class ResizeWithScores(Resize):
    """Resizes image and scores alike: bilinearly, where mmcv's ``Resize`` takes the nearest.

    The scores of :class:`LoadConfidentScores` are numbers, not labels. The released code
    of the ReScience paper resizes them bilinearly too. Arguments are those of ``Resize``;
    ``interpolation`` holds for both.
    """

    def _resize_seg(self, results: dict[str, Any]) -> None:
        scores = results.get('gt_seg_map')
        if scores is not None:
            resize = mmcv.imrescale if self.keep_ratio else mmcv.imresize
            results['gt_seg_map'] = resize(
                scores,
                results['scale'],
                interpolation=self.interpolation,
                backend=self.backend,
            )


@TRANSFORMS.register_module()
class PoolConfidentLabels(BaseTransform):
    """Turns scores into confident labels on the grid of the affinities.

    The mean score of every cell determines its label: an object where the object wins
    against both backgrounds, background where even the weak background wins, and unsure
    (255) elsewhere. Cells without scores, in the padding of a crop, are unsure too.

    Source: Ahn and Kwak 2018 (PSA), section 3.2, and its released data set.

    Args:
        stride: Side of a cell in pixels.

    Raises:
        ConfigError: ``stride`` is not positive.
    """

    def __init__(self, stride: int = 8) -> None:
        if stride < 1:
            raise ConfigError(
                f'stride of PoolConfidentLabels must be >= 1, not {stride}'
            )
        self.stride = stride

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replaces scores ``(H, W, 2 + 2 K)`` by labels ``(H / stride, W / stride)`` uint8.

        A label is the index of a channel, 0 being background; labels distinguish the
        classes of one image only.

        Raises:
            DataError: A side is not a multiple of the stride.
        """
        scores = results['gt_seg_map']
        height, width, channels = scores.shape
        if height % self.stride or width % self.stride:
            raise DataError(
                f'scores of {(height, width)} do not fit cells of {self.stride} pixels: '
                'crop to multiples of the stride'
            )
        cells = (height // self.stride, self.stride, width // self.stride, self.stride)
        pooled = scores.reshape(*cells, channels).mean((1, 3))
        results['gt_seg_map'] = confident_labels(*np.split(pooled, 2, axis=-1))
        return results


@TRANSFORMS.register_module()
class ShrinkLabelMap(BaseTransform):
    """Reduces a label map to the grid of a network: the centre pixel of every cell.

    Source: Ahn, Cho and Kwak (IRN), CVPR 2019, in the released code with cells of 4 pixels.

    Args:
        stride: Side of a cell in pixels.

    Raises:
        ConfigError: ``stride`` is not positive.
    """

    def __init__(self, stride: int = 4) -> None:
        if stride < 1:
            raise ConfigError(f'stride of ShrinkLabelMap must be >= 1, not {stride}')
        self.stride = stride

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replaces ``gt_seg_map`` ``(H, W)`` by ``(H / stride, W / stride)``.

        Raises:
            DataError: A side is not a multiple of the stride.
        """
        label = results['gt_seg_map']
        if any(side % self.stride for side in label.shape):
            raise DataError(
                f'a label map of {label.shape} does not fit cells of {self.stride} pixels: '
                'crop to multiples of the stride'
            )
        centre = slice(self.stride // 2, None, self.stride)
        results['gt_seg_map'] = np.ascontiguousarray(label[centre, centre])
        return results


def confident_labels(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Labels that the strong and the weak background agree on.

    Args:
        low: Scores under the strong background (low exponent), ``(H, W, 1 + K)``,
            background first.
        high: Scores under the weak background (high exponent), in the same shape.

    Returns:
        ``(H, W)`` uint8: 0 background, 1 to K position of the class, 255 unsure.
    """
    label = low.argmax(-1).astype(np.uint8)
    label[label == 0] = IGNORE
    label[high.argmax(-1) == 0] = 0
    label[np.maximum(low, high).max(-1) < 1e-5] = IGNORE
    return label
