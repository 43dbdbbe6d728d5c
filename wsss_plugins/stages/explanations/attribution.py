"""A classifier that is explained, and the maps that seed heads make of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.engine.workers import device
from wsss_plugins.errors import CheckpointError, DataError
from wsss_plugins.registry import MODELS, SCOPE, build_as
from wsss_plugins.seeds import SeedHead
from wsss_plugins.stages.classes import refuse_other_class_names
from wsss_plugins.stages.train import load_trained


def load_classifier(
    model: str | Mapping[str, Any], inputs: Mapping[str, Path]
) -> WSSSClassifier:
    """The classifier that a stage explains.

    Args:
        model: Stage that trained it, or its config.
        inputs: Folder of each stage that is read.

    Returns:
        It, in evaluation mode, on this worker's device.

    Raises:
        CheckpointError: No such weights, or some that are not finite.
        ConfigError: A config of another kind.
    """
    if isinstance(model, str):
        classifier = load_trained(inputs[model], WSSSClassifier)
    else:
        init_default_scope(SCOPE)
        classifier = build_as(MODELS, model, WSSSClassifier).eval().to(device())
    refuse_nan_weights(classifier)
    return classifier


def refuse_nan_weights(model: nn.Module) -> None:
    """Refuses a model with weights that are infinite or NaN.

    Raises:
        CheckpointError: Names the first such tensor and counts the others.
    """
    wrong = [
        name
        for name, value in model.state_dict().items()
        if value.is_floating_point() and not value.isfinite().all()
    ]
    if wrong:
        more = f' (and {len(wrong) - 1} more)' if len(wrong) > 1 else ''
        raise CheckpointError(
            f'weight {wrong[0]}{more} of {type(model).__name__} holds values that are '
            'not finite: load other weights, or train again with a lower learning rate'
        )


def refuse_other_classes(model: WSSSClassifier, dataset: WSSSDataset) -> None:
    """Refuses a data set whose classes are not those of the classifier.

    Raises:
        DataError: The data set and the classifier have different numbers of classes, or
            a class has another name.
    """
    refuse_other_class_names(model, dataset)
    count = len(dataset.foreground_classes)
    if count != model.num_classes:
        raise DataError(
            f'{type(dataset).__name__} {dataset.root} has {count} classes but the '
            f'classifier {model.num_classes}, so that a class may be out of its range 0 '
            f'to {model.num_classes - 1}: take a classifier of the same classes'
        )


def class_logits(model: WSSSClassifier, images: Tensor) -> Tensor:
    """Logits ``(N, C)`` of images ``(N, 3, H, W)`` in [0, 1], without gradients."""
    with torch.no_grad():
        return model.class_logits(model.backbone(model.normalise(images * 255)))


def target_classes(logits: Tensor, labels: Tensor) -> Tensor:
    """The class of each image's label; of several, the one the classifier is surest of.

    Args:
        logits: ``(N, C)``.
        labels: ``(N, C)`` in {0, 1}.

    Returns:
        ``(N,)``; for an image without labels the predicted class.
    """
    unlabelled = labels.sum(1, keepdim=True) == 0
    return logits.masked_fill((labels == 0) & ~unlabelled, -torch.inf).argmax(1)


def relevance_maps(
    head: SeedHead, model: WSSSClassifier, images: Tensor, classes: Tensor
) -> Tensor:
    """Maps of one or several classes of each image, at the size of the images.

    Args:
        head: The method.
        model: The classifier.
        images: ``(N, 3, H, W)`` in [0, 1].
        classes: ``(K, N)``, classes to explain; the same one may come twice.

    Returns:
        ``(K, N, H, W)``, signed; maps of patches are resized bilinear. A map with values
        that are not finite is 0 everywhere.
    """
    maps = head.maps_of(model, model.normalise(images * 255), classes)
    if maps.shape[-2:] != images.shape[-2:]:
        size = images.shape[-2:]
        maps = F.interpolate(maps, size=size, mode='bilinear', align_corners=False)
    finite = maps.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
    return torch.where(finite, maps, maps.new_zeros(()))
