"""Random changes of colour."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image, ImageEnhance

from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ColorJitter(BaseTransform):
    """Changes brightness, contrast, saturation and hue of ``img``, in random order.

    The same changes as torchvision's ``ColorJitter`` on a Pillow image, which PSA and
    the ReScience paper use; the defaults are theirs. mmseg's ``PhotoMetricDistortion``
    changes other amounts. For RGB images; a hue shift is not symmetric in BGR.

    Args:
        brightness: The factor is drawn from ``[1 - brightness, 1 + brightness]``.
        contrast: The factor is drawn from ``[1 - contrast, 1 + contrast]``.
        saturation: The factor is drawn from ``[1 - saturation, 1 + saturation]``.
        hue: The shift is drawn from ``[-hue, hue]`` as a share of the hue circle; at
            most 0.5.

    Raises:
        ConfigError: A number is out of range.
    """

    def __init__(
        self,
        brightness: float = 0.3,
        contrast: float = 0.3,
        saturation: float = 0.3,
        hue: float = 0.1,
    ) -> None:
        amounts = (brightness, contrast, saturation)
        if not (all(0 <= a <= 1 for a in amounts) and 0 <= hue <= 0.5):
            raise ConfigError(
                'ColorJitter needs brightness, contrast and saturation in [0, 1] and hue '
                f'in [0, 0.5], not {(*amounts, hue)}',
                token='ColorJitter',
            )
        kinds = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
        self.enhancers = list(zip(kinds, amounts, strict=True))
        self.hue = hue

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Changes ``img``, ``(H, W, 3)`` uint8."""
        image = Image.fromarray(np.ascontiguousarray(results['img']))
        for step in np.random.permutation(len(self.enhancers) + 1):
            if step < len(self.enhancers):
                kind, amount = self.enhancers[step]
                factor = np.random.uniform(1 - amount, 1 + amount)
                image = kind(image).enhance(factor)
            else:
                image = _shift_hue(image, np.random.uniform(-self.hue, self.hue))
        results['img'] = np.array(image)
        return results


def _shift_hue(image: Image.Image, turns: float) -> Image.Image:
    """Shifts the hue of an RGB image."""
    hue, saturation, value = image.convert('HSV').split()
    shifted = (np.array(hue, np.int64) + int(turns * 255)) % 256
    hue = Image.fromarray(shifted.astype(np.uint8))
    return Image.merge('HSV', (hue, saturation, value)).convert('RGB')
