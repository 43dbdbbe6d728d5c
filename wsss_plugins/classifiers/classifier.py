"""Classifiers trained from image-level labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor

from wsss_plugins.backbones import TokenBackbone, Tokens
from wsss_plugins.classifiers.head import TokenHead
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import MODELS, build_as
from wsss_plugins.structures import ClassSample

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


@MODELS.register_module()
class WSSSClassifier(BaseModel):
    """A token backbone with a linear head and one classification loss per source.

    The classifier follows mmengine's model interface, with ``mode`` ``'loss'``,
    ``'predict'`` or ``'tensor'``.

    Args:
        backbone: A :class:`TokenBackbone` or its config.
        head: A :class:`TokenHead` or its config; ``embed_dims`` is filled in.
        loss: Config of the loss of logits against labels.
        drop_patches: Share of the patches left out of each training image, in [0, 1).
            This regularises, and saves about the same share of the time.
        mean: RGB mean of the images, in 0..255.
        std: RGB standard deviation.
        init_cfg: mmengine's.

    Attributes:
        class_names: Names of the C classes; empty where they are not known.

    Raises:
        ConfigError: ``backbone``, ``head`` or ``loss`` is of another kind,
            ``drop_patches`` is out of range, or the head cannot read the tokens of the
            backbone.
    """

    class_names: Sequence[str] = ()

    def __init__(
        self,
        backbone: dict[str, Any] | TokenBackbone,
        head: dict[str, Any] | TokenHead,
        loss: dict[str, Any] | None = None,
        drop_patches: float = 0.0,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        preprocessor = dict(type='ImgDataPreprocessor', mean=list(mean), std=list(std))
        super().__init__(data_preprocessor=preprocessor, init_cfg=init_cfg)
        if not 0 <= drop_patches < 1:
            raise ConfigError(
                f'drop_patches must be in [0, 1), not {drop_patches}',
                token='drop_patches',
            )
        self.backbone = build_as(MODELS, backbone, TokenBackbone)
        if isinstance(head, Mapping):
            head = {'embed_dims': self.backbone.embed_dims, **head}
        self.head = build_as(MODELS, head, TokenHead)
        self.head.check_backbone(self.backbone, drop_patches)
        loss = loss or dict(type='MultiLabelSoftMarginLoss')
        self.classification_loss = build_as(MODELS, loss, torch.nn.Module)
        self.drop_patches = drop_patches

    @property
    def num_classes(self) -> int:
        """C, the number of foreground classes."""
        return self.head.num_classes

    def normalise(self, images: Tensor) -> Tensor:
        """Images ``(N, 3, H, W)`` RGB in 0..255, normalised for the backbone."""
        prepare = self.data_preprocessor
        return (images - prepare.mean) / prepare.std

    def cam_logits(self, tokens: Tokens) -> Tensor:
        """Class logits of every patch before pooling, ``(N, C, h, w)``."""
        return self.head.patch_logits(tokens)

    def class_logits(self, tokens: Tokens) -> Tensor:
        """Class logits of the image, ``(N, C)``: of the class token if the head reads it."""
        return self.head.class_logits(tokens)

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[ClassSample] | None = None,
        mode: str = 'tensor',
    ) -> Any:
        """Runs the classifier.

        Args:
            inputs: ``(N, 3, H, W)``, normalised.
            data_samples: One per image; needed by ``'loss'`` and ``'predict'``.
            mode: ``'loss'`` returns a dict of losses, ``'predict'`` the samples with
                ``pred_score`` filled in, ``'tensor'`` the logits of each source.
        """
        if mode == 'loss':
            labels = torch.stack([s.gt_label for s in data_samples or []])
            return self.loss(inputs, labels.to(inputs))
        if mode == 'predict':
            return self.predict(inputs, data_samples or [])
        return self.head(self.backbone(inputs))

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Losses of a batch ``(N, 3, H, W)`` with labels ``(N, C)``."""
        return self.head_losses(
            self.backbone(images, self.sample_patches(images)), labels
        )

    def predict(self, images: Tensor, samples: list[ClassSample]) -> list[ClassSample]:
        """Fills in ``pred_score`` ``(C,)`` of every sample."""
        scores = self.head.scores(self.backbone(images))
        for sample, score in zip(samples, scores, strict=True):
            sample.pred_score = score
        return samples

    def head_losses(self, tokens: Tokens, labels: Tensor) -> dict[str, Tensor]:
        """The classification loss of each source, and the head's own losses."""
        logits = self.head(tokens)
        losses = {
            f'loss_{source}': self.classification_loss(values, labels)
            for source, values in logits.items()
        }
        return losses | self.head.extra_losses(tokens, labels)

    def sample_patches(self, images: Tensor) -> Tensor | None:
        """Random row-major indices ``(N, n)`` of the patches to keep, or None for all."""
        if not self.drop_patches:
            return None
        height, width = self.backbone.grid(images)
        count = max(1, round((1 - self.drop_patches) * height * width))
        noise = torch.rand(len(images), height * width, device=images.device)
        return noise.argsort(1)[:, :count]
