"""Two random views of each training image."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from mmcv.transforms import BaseTransform

from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import TRANSFORMS, build_as


@TRANSFORMS.register_module()
class TwoViews(BaseTransform):
    """Runs the random part of a pipeline twice on the same image.

    The transforms before it, such as ``LoadImage``, run once.

    Args:
        pipeline: Transforms; the last packs (``PackClassInputs``), and the pictures that
            it packs are of one size.

    Raises:
        ConfigError: ``pipeline`` is empty or has a misspelt transform.
    """

    def __init__(self, pipeline: Sequence[Any]) -> None:
        if not pipeline:
            raise ConfigError(
                'TwoViews needs a pipeline of transforms', token='TwoViews'
            )
        self.transforms = [build_as(TRANSFORMS, cfg, BaseTransform) for cfg in pipeline]

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Packs both views: ``inputs`` ``(2, 3, H, W)``, ``data_samples`` of the first.

        Raises:
            ConfigError: The pipeline does not pack the sample, or its views differ in
                size.
        """
        views = [self._run(copy.deepcopy(results)) for _ in range(2)]
        kept = [view for view in views if view is not None]
        if len(kept) < 2:
            return None  # rejected: mmengine draws another image
        pictures = [view['inputs'] for view in kept if 'inputs' in view]
        shapes = [tuple(picture.shape) for picture in pictures]
        if len(shapes) < 2 or shapes[0] != shapes[1]:
            raise ConfigError(
                'the pipeline of TwoViews must end with PackClassInputs, after a crop of '
                f'fixed size such as RandomCropPad; its views are {shapes or "not packed"}',
                token='TwoViews',
            )
        return dict(kept[0], inputs=torch.stack(pictures))

    def _run(self, results: dict[str, Any] | None) -> dict[str, Any] | None:
        for transform in self.transforms:
            if results is None:
                break
            results = transform(results)
        return results
