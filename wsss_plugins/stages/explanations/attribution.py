"""Loads the classifier that is explained, and computes maps of it with seed heads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from wsss_plugins.backbones import TimmMaps
from wsss_plugins.backbones.weights import not_finite
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
    """Loads the classifier that a stage explains.

    Args:
        model: Name of the stage that trained the classifier, or the config of one with
            pretrained weights.
        inputs: Folder of each stage that is read, by name.

    Returns:
        The classifier, in evaluation mode, on this worker's device.

    Raises:
        CheckpointError: The weights are missing, or have values that are not finite.
        ConfigError: The model is no :class:`WSSSClassifier`.
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
        CheckpointError: A weight is infinite or NaN; the message names the first such
            tensor and the number of others.
    """
    if wrong := not_finite(model.state_dict()):
        raise CheckpointError(
            f'weight {wrong} of {type(model).__name__} holds values that are '
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


def mean_colour(model: WSSSClassifier) -> list[float]:
    """RGB mean of the normalisation, in [0, 1]: the colour of a pixel that becomes 0.

    Args:
        model: The classifier. If its backbone reads a :class:`TimmMaps`, which normalises
            pixels itself, the mean is that of this network.

    Returns:
        One number for each channel, or one for all.
    """
    networks = (m for m in model.backbone.modules() if isinstance(m, TimmMaps))
    source = next(networks, model.data_preprocessor)
    return (source.mean.flatten() / 255).tolist()


def target_classes(logits: Tensor, labels: Tensor) -> Tensor:
    """The class of each image to explain, chosen among its labels.

    Args:
        logits: ``(N, C)``.
        labels: ``(N, C)`` in {0, 1}.

    Returns:
        ``(N,)``, the label with the highest logit; for an image without labels the
        predicted class.
    """
    unlabelled = labels.sum(1, keepdim=True) == 0
    return logits.masked_fill((labels == 0) & ~unlabelled, -torch.inf).argmax(1)


def relevance_maps(
    head: SeedHead, model: WSSSClassifier, images: Tensor, classes: Tensor
) -> Tensor:
    """Computes maps of one or several classes of each image, at the size of the images.

    Args:
        head: The seed head whose maps are tested.
        model: The classifier.
        images: ``(N, 3, H, W)`` in [0, 1].
        classes: ``(K, N)``, K class ids for each image; an image may have the same class
            several times.

    Returns:
        ``(K, N, H, W)``, signed; maps on the patch grid are resized bilinearly. A map with
        values that are not finite is replaced by 0.
    """
    maps = head.maps_of(model, model.normalise(images * 255), classes)
    if maps.shape[-2:] != images.shape[-2:]:
        size = images.shape[-2:]
        maps = F.interpolate(maps, size=size, mode='bilinear', align_corners=False)
    finite = maps.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
    return torch.where(finite, maps, maps.new_zeros(()))
