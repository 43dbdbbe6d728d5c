"""Calls a seed head on a network with random weights, to find errors before training."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from traceback import FrameSummary, extract_tb

import torch
from torch import Tensor, nn

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import ConfigError, UserError, described
from wsss_plugins.seeds import SeedHead

GRIDS = ((3, 4), (14, 15))
"""Heights and widths of the images on which a head is tried, in strides of the backbone.
The second, the size of an ordinary photo, is used only if the head fails on the first."""


def head_refusal(head: SeedHead, model: nn.Module) -> str | None:
    """Finds out why a head cannot make maps of a model: it refuses the model, or fails.

    The head is called on two images with different labels, so that maps of a wrong shape
    cannot have the right shape by chance. If it fails on small images it is called once
    more on images of ordinary size, since a method may need more patches.

    Args:
        head: The seed head.
        model: The network, with any weights.

    Returns:
        The reason in one line; None if the head makes maps.
    """
    if not isinstance(model, WSSSClassifier):
        return f'class maps are of a WSSSClassifier, and this is {type(model).__name__}'
    reason = None
    for rows, columns in GRIDS:
        height, width = rows * model.backbone.stride, columns * model.backbone.stride
        try:
            head(model, torch.rand(2, 3, height, width), _labels(model.num_classes))
            return None
        except ConfigError as error:  # does not depend on the size of the images
            return _one_line(error)
        except UserError as error:
            reason = _one_line(error)
        except (
            Exception
        ) as error:  # a mistake in a plug-in: anything may come out of it
            reason = (
                f'{type(head).__name__} fails on two images of {height}x{width} pixels, '
                f'{described(error)} ({_place(error, head)})'
            )
    return reason


def _labels(classes: int) -> Tensor:
    """Labels ``(2, C)``: the first image has two classes, the second the last class."""
    labels = torch.zeros(2, classes)
    labels[0, 0] = labels[0, classes // 2] = labels[1, -1] = 1
    return labels


def _one_line(error: Exception) -> str:
    return ' '.join(str(error).split())


def _place(error: Exception, head: SeedHead) -> str:
    """Text ``file:line, in function`` of the innermost failing line in the head's files."""
    frames = list(extract_tb(error.__traceback__))
    own = set(_files_of(head))
    package = str(Path(__file__).resolve().parents[1])
    choices: list[list[FrameSummary]] = [
        [f for f in frames if f.filename in own],
        [f for f in frames if f.filename.startswith(package)],
        frames,
    ]
    frame = next(chosen for chosen in choices if chosen)[-1]
    return f'{frame.filename}:{frame.lineno}, in {frame.name}'


def _files_of(head: SeedHead) -> Iterator[str]:
    """Files that define the head and the heads that it contains."""
    for part in head.modules():
        if isinstance(part, SeedHead):
            for cls in type(part).__mro__:
                if issubclass(cls, SeedHead) and not inspect.isabstract(cls):
                    yield inspect.getfile(cls)
