"""The eX-ViT classifier: attributes that two views of an image share."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import ImgDataPreprocessor
from torch import Tensor

from wsss_plugins.classifiers.atte import AttributeHead, Attributes
from wsss_plugins.classifiers.classifier import WSSSClassifier
from wsss_plugins.classifiers.momentum import MomentumBranch
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.losses import AttributeLoss
from wsss_plugins.registry import MODELS, build_as


class ViewsPreprocessor(ImgDataPreprocessor):
    """mmengine's preprocessor, also for several views of an image, ``(V, 3, H, W)``."""

    def forward(self, data: dict[str, Any], training: bool = False) -> Any:
        """Stacks ``inputs`` to ``(N, 3, H, W)``, or ``(N, V, 3, H, W)`` for V views."""
        inputs = data['inputs']
        if inputs[0].ndim != 4:
            return super().forward(data, training)
        flat = [view for views in inputs for view in views]
        done: Any = super().forward(dict(data, inputs=flat), training)
        return dict(done, inputs=done['inputs'].unflatten(0, (len(inputs), -1)))


@MODELS.register_module()
class ExViTClassifier(WSSSClassifier):
    """Trains an encoder and AttE with the loss of eX-ViT (eq. 15).

    The first view of an image passes through the encoder, AttE and the classification
    layer, which gives ``L_global`` (eq. 12) and ``L_div``. For ``L_dis`` the second
    view passes through the momentum branch, whose weights are moving averages of the
    encoder and AttE that :class:`MomentumHook` updates. After training only the first
    branch is used.

    For the rows of table 6, ``attribute_loss`` switches ``L_dis`` and ``L_div`` on and
    off. ``classify='tokens'`` of the head switches ``L_global`` off; the encoder is
    then trained by the plain CAM.

    Source: Yu et al., eX-ViT, 2022, section 3.4.

    Args:
        attribute_loss: Config of an :class:`AttributeLoss`.
        kwargs: Arguments of :class:`WSSSClassifier`; the head is an
            :class:`AttributeHead`.

    Attributes:
        momentum: The second branch; None without ``L_dis``.

    Raises:
        ConfigError: The head is not an :class:`AttributeHead`.
    """

    head: AttributeHead

    def __init__(
        self, attribute_loss: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(self.head, AttributeHead):
            raise ConfigError(
                'ExViTClassifier needs an AttributeHead, not a '
                f'{type(self.head).__name__}',
                token='head',
            )
        prepare: Any = self.get_submodule('data_preprocessor')
        mean, std = (x.flatten().tolist() for x in (prepare.mean, prepare.std))
        self.data_preprocessor = ViewsPreprocessor(mean, std)
        attribute_loss = attribute_loss or dict(type='AttributeLoss')
        self.attribute_loss = build_as(MODELS, attribute_loss, AttributeLoss)
        self.momentum = (
            MomentumBranch(backbone=self.backbone, atte=self.head.atte)
            if self.attribute_loss.discriminability
            else None
        )
        if not self._trains_atte():
            # Distributed training would wait for the gradients of an unused AttE.
            self.head.atte.requires_grad_(False)

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            images: Two views of each image, ``(N, 2, 3, H, W)``. Without ``L_dis`` the
                second view is not used, and ``(N, 3, H, W)`` is enough.
            labels: ``(N, C)``.

        Returns:
            ``loss_global`` (or ``loss_cam``, where the head classifies tokens),
            ``loss_dis`` and ``loss_div``, without those of weight 0.

        Raises:
            DataError: ``L_dis`` is on and ``images`` has a single view of each image.
        """
        first = images if images.ndim == 4 else images[:, 0]
        tokens = self.backbone(first, self.sample_patches(first))
        attributes = self.head.decompose(tokens) if self._trains_atte() else None
        logits = self.head.pooled_logits(tokens, attributes)
        name = 'loss_cam' if self.head.classify == 'tokens' else 'loss_global'
        losses = {name: self.classification_loss(logits, labels)}
        if attributes is None:
            return losses
        return losses | self.attribute_loss(attributes, self._second_view(images))

    def follow(self, momentum: float = 0.0) -> None:
        """Updates the momentum branch; momentum 0 copies the weights."""
        if self.momentum is not None:
            self.momentum.follow(momentum, backbone=self.backbone, atte=self.head.atte)

    def init_weights(self) -> None:
        """Initialises as mmengine does; both branches then have equal weights."""
        super().init_weights()
        self.follow(0.0)

    @torch.no_grad()
    def _second_view(self, images: Tensor) -> Attributes | None:
        """The attributes of the second view, computed by the momentum branch."""
        if self.momentum is None:
            return None
        if images.ndim == 4:
            raise DataError(
                'L_dis compares two views, and the images have one: put TwoViews into '
                'the pipeline of train_dataloader, or set discriminability=0'
            )
        self.momentum.wait()
        second = images[:, 1]
        backbone: Any = self.momentum.backbone
        atte: Any = self.momentum.atte
        tokens = backbone(second, self.sample_patches(second))
        return atte.decompose(tokens.patch)

    def _trains_atte(self) -> bool:
        """Whether any loss has a gradient with respect to AttE."""
        terms = self.attribute_loss
        return bool(
            self.head.classify == 'attributes'
            or terms.discriminability
            or terms.diversity
        )
