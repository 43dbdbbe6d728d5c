"""Propagates scores along the patch-to-patch attention of a trained transformer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss_plugins.backbones import Trace, capture, check_direction
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import ConfigError
from wsss_plugins.refiners.base import Refiner, check_batch
from wsss_plugins.registry import REFINERS
from wsss_plugins.structures import Seed


def patch_transition(
    trace: Trace,
    blocks: Sequence[int] | None = None,
    direction: str = 'take',
    normalise: bool = False,
    residual: float = 0.0,
) -> Tensor:
    """The weight with which each patch receives the scores of every other patch.

    Args:
        trace: Attention of a batch.
        blocks: Which blocks to add up, negative ones counting from the end; None: all.
        direction: A key of :data:`~wsss_plugins.backbones.DIRECTIONS`.
        normalise: Divide each row by its sum.
        residual: Weight of the identity that is added last, >= 0.

    Returns:
        ``(N, n, n)`` >= 0, row = the receiving patch. With the defaults equal to
        :meth:`Trace.patch_affinity`.

    Raises:
        ConfigError: The backbone has no block of an index in ``blocks``.
    """
    transition = trace.patch_affinity(blocks, direction)
    if normalise:
        transition = transition / transition.sum(-1, keepdim=True)
    return transition + residual * torch.eye(transition.shape[-1]).to(transition)


def spread(maps: Tensor, transition: Tensor, power: int = 1) -> Tensor:
    """Applies a transition ``(n, n)`` to maps ``(K, h, w)`` of its patches, ``power`` times."""
    flat = maps.flatten(1).T
    for _ in range(power):
        flat = transition @ flat
    return flat.T.reshape(maps.shape)


@REFINERS.register_module()
class PatchAffinity(Refiner):
    """Propagates scores, and the background if there is one, along attention.

    Maps are mean-pooled to the patches of the image, multiplied ``power`` times by
    :func:`patch_transition`, and resized back bilinearly. Rows that do not sum to 1
    change the scale of the scores: put the background policy after it.

    Source: Xu et al., "Multi-class Token Transformer for WSSS" (MCTformer), CVPR 2022,
    and Sun et al., "All-pairs Consistency Learning for WSSS", 2023, eq. 8. The
    defaults are those of the released codes, a sum over all blocks.

    Args:
        model: Name of the stage that trained the classifier whose attention is read.
        blocks: Which blocks to add up, negative ones counting from the end; None: all.
        power: How often to multiply, >= 1.
        direction: A key of :data:`~wsss_plugins.backbones.DIRECTIONS`.
        normalise: Divide each row by its sum.
        residual: Weight of the identity that is added, >= 0.
        input_size: ``(H, W)`` of the classifier's input; by default the size of the
            image, rounded to the stride of the backbone.

    Raises:
        ConfigError: A number out of range.
    """

    def __init__(
        self,
        model: str = 'classifier',
        blocks: Sequence[int] | None = None,
        power: int = 1,
        direction: str = 'take',
        normalise: bool = False,
        residual: float = 0.0,
        input_size: tuple[int, int] | None = None,
    ) -> None:
        if power < 1 or residual < 0 or (blocks is not None and not len(blocks)):
            raise ConfigError(
                'PatchAffinity needs power >= 1, residual >= 0 and at least one block, '
                f'not {power}, {residual} and {blocks}'
            )
        check_direction(direction)
        self.stages = (model,)
        self.power = power
        self.transition = partial(
            patch_transition,
            blocks=blocks,
            direction=direction,
            normalise=normalise,
            residual=residual,
        )
        self.input_size = input_size
        self._model: WSSSClassifier | None = None

    def bind(self, models: Mapping[str, nn.Module]) -> None:
        """Stores the classifier of the stage ``model``."""
        model = models[self.stages[0]]
        if not isinstance(model, WSSSClassifier):
            raise ConfigError(
                f'PatchAffinity reads the attention of a WSSSClassifier, but stage '
                f"'{self.stages[0]}' trained a {type(model).__name__}",
                token=self.stages[0],
            )
        self._model = model

    def refine(self, image: Tensor, seed: Seed) -> Seed:
        """Returns the seed with propagated scores."""
        return self.refine_batch([image], [seed])[0]

    @torch.no_grad()
    def refine_batch(
        self, images: Sequence[Tensor], seeds: Sequence[Seed]
    ) -> list[Seed]:
        """Refines the seeds of images of one size with one forward pass.

        Args:
            images: ``(3, H, W)`` uint8 RGB each.
            seeds: Their seeds; the numbers of classes may differ.

        Raises:
            ConfigError: The model of the stage is not bound yet.
            DataError: The images do not fit the seeds or one another.
        """
        check_batch(images, seeds)
        transitions, grid = self._transitions(torch.stack([*images]))
        return [
            self._refined(seed, transition, grid)
            for seed, transition in zip(seeds, transitions, strict=True)
        ]

    def _transitions(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """The transition of each image ``(N, n, n)``, and the grid of its patches."""
        model = self._model
        if model is None:
            raise ConfigError(
                f"PatchAffinity reads the attention of stage '{self.stages[0]}': bind its "
                'model first, or run it in a RefineStage',
                token=self.stages[0],
            )
        pixels = images.to(next(model.parameters()))
        stride = model.backbone.stride
        rounded = [max(1, round(side / stride)) * stride for side in pixels.shape[-2:]]
        size = list(self.input_size or rounded)
        if list(pixels.shape[-2:]) != size:
            pixels = F.interpolate(pixels, size, mode='bilinear', align_corners=False)
        training = model.training
        model.eval()
        try:
            with capture(model.backbone, model.normalise(pixels)) as trace:
                return self.transition(trace), trace.grid
        finally:
            model.train(training)

    def _refined(self, seed: Seed, transition: Tensor, grid: tuple[int, int]) -> Seed:
        """The seed of one image, multiplied by its ``(n, n)`` transition."""
        if not len(seed.classes):  # there is nothing to spread
            return seed
        extra = [] if seed.background is None else [seed.background[None]]
        maps = torch.cat([*extra, seed.scores])
        pooled = F.adaptive_avg_pool2d(maps.to(transition), grid)
        walked = spread(pooled, transition, self.power)[None]
        back = F.interpolate(walked, seed.size, mode='bilinear', align_corners=False)
        background, scores = back[0].to(maps).split([len(extra), len(seed.classes)])
        return replace(seed, scores=scores, background=background[0] if extra else None)
