"""Explains a photo with one call: the maps of the classes that a model predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor, nn

from wsss_plugins.backbones import TokenBackbone
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.datasets import read_image
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.explain.classes import choose_classes, class_names, first_synonym
from wsss_plugins.explain.methods import build_method, spelt_out
from wsss_plugins.explain.models import load_model
from wsss_plugins.explain.overlay import fitted, overlay
from wsss_plugins.seeds import SeedHead
from wsss_plugins.structures.pictures import figures

TRAINED_SIZE = (224, 224)
"""``(H, W)`` of the training images of a backbone that does not state it."""


@dataclass(frozen=True)
class Explanation:
    """The maps of one method for K classes of one photo.

    Attributes:
        maps: ``(K, H, W)`` float32 of the photo's size, relevance of each pixel for the
            class (positive) or against it (negative), on the scale of the method.
        classes: Ids.
        names: Of these classes.
        logits: ``(K,)`` float32, the class logits that gradient methods differentiate.
        probabilities: ``(K,)`` float32 in [0, 1], the predicted probabilities.
        photo: ``(H, W, 3)`` uint8 RGB.
        method: Name of the seed head in its registry.
    """

    maps: np.ndarray
    classes: tuple[int, ...]
    names: tuple[str, ...]
    logits: np.ndarray
    probabilities: np.ndarray
    photo: np.ndarray
    method: str

    def of(self, k: int) -> Explanation:
        """The explanation of the k-th class alone."""
        part = slice(k, k + 1)
        keys = ('maps', 'classes', 'names', 'logits', 'probabilities')
        return replace(self, **{key: getattr(self, key)[part] for key in keys})

    def _repr_html_(self) -> str:
        """What a notebook shows: the photo, and the map of each class over it."""
        photo = fitted(self.photo)
        height, width = self.photo.shape[:2]
        shown = [(Image.fromarray(photo), f'photo, {width} × {height}')]
        for name, share, scores in zip(
            self.names, self.probabilities, self.maps, strict=True
        ):
            caption = f'{name}, {100 * float(share):.1f} %: {spelt_out(self.method)}'
            shown.append((overlay(photo, scores, signed=False), caption))
        return figures(shown)


@dataclass(frozen=True)
class Question:
    """The input of a model for a photo, and the classes to explain.

    Attributes:
        images: ``(1, 3, H', W')``, normalised, on the model's device.
        photo: ``(H, W, 3)`` uint8 RGB.
        classes: Ids.
        names: Of these classes.
        logits: ``(K,)`` float32.
        probabilities: ``(K,)`` float32 in [0, 1].
    """

    images: Tensor
    photo: np.ndarray
    classes: tuple[int, ...]
    names: tuple[str, ...]
    logits: np.ndarray
    probabilities: np.ndarray

    def answer(self, maps: Tensor, method: str) -> Explanation:
        """Maps ``(K, h, w)`` of the classes by a method, at the size of the photo."""
        return Explanation(
            self.on_photo(maps),
            self.classes,
            self.names,
            self.logits,
            self.probabilities,
            self.photo,
            method,
        )

    def on_photo(self, maps: Tensor) -> np.ndarray:
        """Maps ``(K, h, w)`` as ``(K, H, W)`` float32 of the photo's size, bilinear."""
        size = self.photo.shape[:2]
        maps = F.interpolate(maps.detach()[None].float(), size=size, mode='bilinear')
        return maps[0].cpu().numpy()


def explain(
    model: nn.Module | Path | str,
    image: Path | str | Image.Image | np.ndarray,
    method: str | Mapping[str, Any] | SeedHead = 'transformer_attribution',
    classes: Sequence[int | str] | None = None,
    top: int = 1,
    size: tuple[int, int] | None = None,
    weights: Path | str | bool = True,
    names: Sequence[str] | None = None,
) -> Explanation:
    """Computes which parts of a photo are relevant for a class.

    Args:
        model: See :func:`load_model`. For several photos load it once.
        image: A file, a Pillow image, or ``(H, W, 3)`` uint8 RGB.
        method: See :func:`build_method`.
        classes: Ids or names; by default the most probable.
        top: Number of the most probable classes.
        size: ``(H, W)`` of the input to the model, multiples of its stride. By default
            the photo keeps its aspect ratio and gets as many patches as in training.
        weights: See :func:`load_model`.
        names: Names of all C classes; not needed for ImageNet and for models trained
            here.

    Returns:
        The maps, at the size of the photo.

    Raises:
        ConfigError: The method, model or class is unknown, or the model has no
            attention.
        CheckpointError: The weights are missing, do not fit or are not finite.
        DataError: An image that cannot be read, or a size that does not fit.
    """
    head = build_method(method)
    classifier = load_model(model, weights)
    head.check_model(classifier)
    asked = ask(classifier, image, classes, top, size, names)
    chosen = torch.tensor(asked.classes, device=asked.images.device)[:, None]
    maps = head.maps_of(classifier, asked.images, chosen)[:, 0]
    return asked.answer(maps, type(head).__name__)


def ask(
    model: WSSSClassifier,
    image: Path | str | Image.Image | np.ndarray,
    classes: Sequence[int | str] | None = None,
    top: int = 1,
    size: tuple[int, int] | None = None,
    names: Sequence[str] | None = None,
) -> Question:
    """Runs a model on a photo and chooses the classes to explain.

    Args:
        model: The classifier; its mode is left as it was.
        image: See :func:`explain`.
        classes: See :func:`explain`.
        top: See :func:`explain`.
        size: See :func:`explain`.
        names: See :func:`explain`.

    Raises:
        ConfigError: A class is unknown.
        DataError: An image that cannot be read, or a size that does not fit.
    """
    names = known_names(model, names)
    photo = read_photo(image)
    images = _input(model, photo, size)
    logits, probabilities = _answers(model, images)
    chosen = choose_classes(classes, top, probabilities, names)
    return Question(
        images,
        photo,
        tuple(chosen),
        tuple(first_synonym(names[c]) if names else f'class {c}' for c in chosen),
        logits[chosen].float().cpu().numpy(),
        probabilities[chosen].float().cpu().numpy(),
    )


def read_photo(image: Path | str | Image.Image | np.ndarray) -> np.ndarray:
    """A photo as ``(H, W, 3)`` uint8 RGB.

    Raises:
        DataError: The file cannot be decoded, or the array is not ``(H, W, 3)`` uint8.
    """
    if isinstance(image, (str, Path)):
        return read_image(image)
    if isinstance(image, Image.Image):
        return np.array(ImageOps.exif_transpose(image).convert('RGB'))
    if not isinstance(image, np.ndarray):
        raise DataError(
            'an image must be a file, a Pillow image or an array (H, W, 3) of uint8, '
            f'not a {type(image).__name__}'
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DataError(
            f'an image must be an array (H, W, 3) of uint8, not {image.shape} of '
            f'{image.dtype}'
        )
    return image


def known_names(model: WSSSClassifier, names: Sequence[str] | None) -> Sequence[str]:
    """The names of a model's classes: those that are given, else its own.

    Raises:
        ConfigError: There is not one name for each class.
    """
    known = class_names(model) if names is None else names
    if len(known) != model.num_classes and (known or names is not None):
        raise ConfigError(
            f'{len(known)} class names were given, and the model has '
            f'{model.num_classes} classes: give one for each, in order'
        )
    return known


def _input(
    model: WSSSClassifier, photo: np.ndarray, size: tuple[int, int] | None
) -> Tensor:
    """The photo as ``(1, 3, H, W)``, resized as timm does it and normalised."""
    height, width = size or _fitting_size(model.backbone, photo.shape[:2])
    if min(height, width) < 1:
        raise DataError(f'the input size must be positive, not {height} {width}')
    picture = Image.fromarray(photo).resize((width, height), Image.Resampling.BICUBIC)
    weight = next(model.parameters())
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    return model.normalise(pixels.to(weight))


def _fitting_size(backbone: TokenBackbone, size: tuple[int, ...]) -> tuple[int, int]:
    """``size`` scaled to the number of patches in training, in multiples of the stride."""
    trained = getattr(backbone, 'trained_size', TRAINED_SIZE)
    factor = (trained[0] * trained[1] / (size[0] * size[1])) ** 0.5 / backbone.stride
    height, width = (max(1, round(side * factor)) * backbone.stride for side in size)
    return height, width


@torch.no_grad()
def _answers(model: WSSSClassifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and probabilities ``(C,)`` of one image."""
    training = model.training
    model.eval()
    try:
        tokens = model.backbone(images)
        return model.class_logits(tokens)[0], model.head.scores(tokens)[0]
    finally:
        model.train(training)
