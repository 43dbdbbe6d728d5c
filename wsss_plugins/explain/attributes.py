"""The spatial weights and contributions of the attributes of an eX-ViT in one photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from wsss_plugins.explain.call import Explanation, ask
from wsss_plugins.explain.models import load_model
from wsss_plugins.explain.overlay import fitted, overlay
from wsss_plugins.seeds import AttributeCAM
from wsss_plugins.structures.pictures import figures


@dataclass(frozen=True)
class AttributeExplanation:
    """The S attributes of K classes of one photo; all maps are of its size.

    Attributes:
        whole: The explanation of each class; its maps are the sum of the parts and the
            bias of the class.
        looks: ``(S, H, W)`` float32 in [0, 1], the spatial weights of each attribute,
            the same for all classes; their squares sum to 1 in every patch.
        parts: ``(K, S, H, W)`` float32, the contribution of each attribute to the map
            of a class, positive or negative.
    """

    whole: Explanation
    looks: np.ndarray
    parts: np.ndarray

    def _repr_html_(self) -> str:
        """What a notebook shows: the maps of the classes, and where each attribute looks."""
        photo = fitted(self.whole.photo)
        looks = (
            (overlay(photo, look, signed=False), f'attribute {i}')
            for i, look in enumerate(self.looks)
        )
        return self.whole._repr_html_() + figures(looks)


def explain_attributes(
    model: nn.Module | Path | str,
    image: Path | str | Image.Image | np.ndarray,
    classes: Sequence[int | str] | None = None,
    top: int = 1,
    size: tuple[int, int] | None = None,
    weights: Path | str | bool = True,
    names: Sequence[str] | None = None,
) -> AttributeExplanation:
    """Splits the class maps of an eX-ViT into the contributions of its attributes.

    Source: Yu et al., eX-ViT, 2022, eqs. 7 to 11.

    Args:
        model: An eX-ViT, see :func:`load_model`. For several photos load it once.
        image: See :func:`explain`.
        classes: See :func:`explain`.
        top: See :func:`explain`.
        size: See :func:`explain`.
        weights: See :func:`load_model`.
        names: See :func:`explain`.

    Raises:
        UserError: The model has no attributes, or :func:`explain` would refuse the
            arguments.
    """
    classifier = load_model(model, weights)
    AttributeCAM().check_model(classifier)
    head: Any = classifier.head
    asked = ask(classifier, image, classes, top, size, names)
    chosen = list(asked.classes)
    training = classifier.training
    classifier.eval()
    try:
        with torch.no_grad():
            tokens = classifier.backbone(asked.images)
            maps = head.patch_logits(tokens)[0, chosen]
            looks = head.attribute_weight(tokens)[0]
            parts = head.attribute_logits(tokens)[0][:, chosen]
    finally:
        classifier.train(training)
    return AttributeExplanation(
        asked.answer(maps, AttributeCAM.__name__),
        asked.on_photo(looks),
        np.stack([asked.on_photo(part) for part in parts.unbind(1)]),
    )
