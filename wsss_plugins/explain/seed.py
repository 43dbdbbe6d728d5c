"""The seed of one photo, made and refined as the stages of a pipeline do it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from wsss_plugins.explain.call import known_names, read_photo
from wsss_plugins.explain.classes import class_ids
from wsss_plugins.explain.methods import build_method
from wsss_plugins.explain.models import load_model
from wsss_plugins.refiners import Refiner, RefinerChain
from wsss_plugins.seeds import SeedHead
from wsss_plugins.stages import SeedStage
from wsss_plugins.stages.images import as_image
from wsss_plugins.structures import Seed


def make_seed(
    model: nn.Module | Path | str,
    image: Path | str | Image.Image | np.ndarray,
    classes: Sequence[int | str],
    method: str | Mapping[str, Any] | SeedHead = 'cam',
    scales: Sequence[float] = (1.0,),
    flip: bool = True,
    max_side: int | None = None,
    names: Sequence[str] | None = None,
) -> Seed:
    """Makes the seed of one photo, as a :class:`SeedStage` does of a data set.

    :func:`explain` shows a map at the size of the training images and of one view; a seed is
    made at the photo's own size and averaged over the views.

    Args:
        model: See :func:`load_model`. For several photos load it once.
        image: A file, a Pillow image, or ``(H, W, 3)`` uint8 RGB.
        classes: Image-level labels, the ids or names of all classes that the photo shows.
        method: The seed head, see :func:`build_method`.
        scales: Factors of the photo's sides, see :class:`MultiScaleFlip`.
        flip: Whether to add the mirrored photo.
        max_side: Longest side of the copy that the model sees, in pixels; by default the
            photo as it is.
        names: Names of all C classes; not needed for ImageNet and for models trained
            here.

    Returns:
        Scores ``(K, H, W)`` in [0, 1] at the size of the photo, in the order of the ids.

    Raises:
        ConfigError: The method, the model or a class is unknown, the model does not fit the
            method, or a number is out of range.
        CheckpointError: The weights are missing, do not fit or are not finite.
        DataError: The image cannot be read.
    """
    head = build_method(method)
    classifier = load_model(model)
    head.check_model(classifier)
    known = known_names(classifier, names)
    labels = np.zeros(classifier.num_classes, np.float32)
    labels[class_ids(classes, len(labels), known)] = 1
    stage = SeedStage(
        'seed', 'model', head, {}, scales, flip, max_side=max_side, half=False
    )
    (seed,) = stage.seeds_of(classifier, [read_photo(image)], [labels])
    return seed


def refine_seed(
    seed: Seed,
    image: Path | str | Image.Image | np.ndarray,
    refiners: Sequence[Refiner | Mapping[str, Any]],
) -> Seed:
    """Refines the seed of one photo, as a :class:`RefineStage` does of a data set.

    Args:
        seed: The seed, of the photo's size.
        image: A file, a Pillow image, or ``(H, W, 3)`` uint8 RGB.
        refiners: Refiners or their configs, in order; the first sets the background.

    Returns:
        The refined seed; :meth:`Seed.to_label` is its label map.

    Raises:
        ConfigError: An entry of ``refiners`` is no refiner.
        DataError: The image cannot be read, or has another size than the seed.
    """
    return RefinerChain(refiners)(as_image(read_photo(image)), seed)
