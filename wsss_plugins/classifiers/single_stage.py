"""A classifier with a decoder: it learns masks from its own class maps while it trains."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import BaseSegmentor
from torch import Tensor, nn

from wsss_plugins.backbones import TimmMaps, Tokens
from wsss_plugins.classifiers.classifier import WSSSClassifier
from wsss_plugins.classifiers.online_labels import (
    Thresholds,
    boxes_on,
    inside,
    mirrored,
    resized_maps,
)
from wsss_plugins.classifiers.refined_labels import Averaging
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.losses import BalancedCrossEntropyLoss, EnergyLoss
from wsss_plugins.registry import MODELS, REFINERS, build_as
from wsss_plugins.structures import IGNORE, ClassSample


@dataclass(frozen=True)
class Batch:
    """What a single-stage classifier is trained on, without any mask.

    Attributes:
        images: ``(N, 3, H, W)``, normalised, or packed features ``(N, C, h, w)``.
        labels: ``(N, C)`` in {0, 1}.
        size: ``(H, W)`` of the images in pixels.
        colours: ``(N, 3, h, w)`` RGB in [0, 1], on which pseudo labels are made.
        boxes: ``(N, 4)``, the parts of the images that are no padding, in pixels.
        draws: A number of each image that random choices follow from; None where the
            samples have none.
        inner: ``(N, 4)``, the boxes in pixels of the colours; filled in.
    """

    images: Tensor
    labels: Tensor
    size: tuple[int, int]
    colours: Tensor
    boxes: Tensor
    draws: list[int] | None = None
    inner: Tensor = field(init=False)

    def __post_init__(self) -> None:
        """Fills in :attr:`inner`."""
        inner = boxes_on(self.boxes, self.size, self.colours.shape[2:])
        object.__setattr__(self, 'inner', inner)


class SingleStageClassifier(WSSSClassifier, BaseSegmentor):
    """A classifier whose decoder is trained on pseudo labels of its own class maps.

    It is a segmentor of mmseg too, so that stages that predict label maps take it as they
    take any other, without image-level labels; seed heads take it as they take any
    classifier. It counts its training steps in :attr:`steps`, which is saved with the
    weights, so that a resumed training goes on with the same losses.

    Pseudo labels are made on the colours of the images: of a sample's ``photo``
    (:class:`~wsss_plugins.datasets.LoadPhoto`) where it has one, else of the pixels.

    Args:
        decode_head: A decode head of mmseg, or its config. It is given the maps of the
            frozen network below a :class:`~wsss_plugins.backbones.HybridViT`, finest
            first, and after them the patch tokens. ``loss_decode`` is by default
            :class:`BalancedCrossEntropyLoss` with weight 0.1, halved for each kind.
        thresholds: Scores of the background, see
            :class:`~wsss_plugins.classifiers.online_labels.Thresholds`.
        scales: Factors of the sides of the images that the class maps are made of; with
            kept features 1 alone.
        refiner: A refiner that averages by colours, by default
            ``PAR(as_released=True)``.
        seg_after: Steps before the decoder is trained.
        energy: Weight of the :class:`EnergyLoss`; 0 leaves it out. Its widths are in
            pixels of the colours.
        kwargs: Those of :class:`WSSSClassifier`; ``drop_patches`` must be 0.

    Attributes:
        steps: Training steps that are done.

    Raises:
        ConfigError: ``drop_patches`` is set, the decode head has not one class more than
            the classifier, or the refiner does not average by colours.
    """

    def __init__(
        self,
        decode_head: Mapping[str, Any] | BaseDecodeHead,
        thresholds: Mapping[str, float],
        scales: Sequence[float] = (1.0, 0.5, 1.5),
        refiner: Mapping[str, Any] | None = None,
        seg_after: int = 2000,
        energy: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if self.drop_patches:
            raise ConfigError(
                f'{type(self).__name__} needs the maps of whole images: set drop_patches=0',
                token='drop_patches',
            )
        if not scales or min(scales) <= 0:
            raise ConfigError(f'scales must be > 0, not {scales}', token='scales')
        if isinstance(decode_head, Mapping):
            balanced = dict(type=BalancedCrossEntropyLoss, over='batch')
            balanced |= dict(background=0.5, foreground=0.5, loss_weight=0.1)
            decode_head = {'loss_decode': balanced, **decode_head}
        self.decode_head = build_as(MODELS, decode_head, BaseDecodeHead)
        if self.decode_head.num_classes != self.num_classes + 1:
            raise ConfigError(
                f'the decode head has {self.decode_head.num_classes} classes, and needs '
                f'{self.num_classes + 1}: those of the classifier and the background',
                token='num_classes',
            )
        self.thresholds = Thresholds(**thresholds)
        self.scales = tuple(scales)
        refiner = refiner or dict(type='PAR', as_released=True)
        self.averaging: Averaging = build_as(REFINERS, refiner, Averaging)
        self.seg_after = seg_after
        self.energy_loss = EnergyLoss(loss_weight=energy) if energy else None
        self.register_buffer('steps', torch.zeros((), dtype=torch.long))

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[ClassSample] | None = None,
        mode: str = 'tensor',
    ) -> Any:
        """Runs the model, as :meth:`WSSSClassifier.forward` does.

        ``'loss'`` needs the samples for the boxes and photos in them.
        """
        if mode != 'loss':
            return super().forward(inputs, data_samples, mode)
        samples = data_samples or []
        labels = torch.stack([s.gt_label for s in samples]).to(inputs)
        return self.loss(inputs, labels, samples)

    @abstractmethod
    def loss(
        self, images: Tensor, labels: Tensor, samples: Sequence[ClassSample] = ()
    ) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            images: ``(N, 3, H, W)``, normalised, or packed features.
            labels: ``(N, C)``.
            samples: What else is known of the images; nothing by default.
        """

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Maps for the decoder of images ``(N, 3, H, W)`` or packed features."""
        images = self.packed(inputs)
        return self.decoder_maps(images, self.backbone(images))

    def encode_decode(self, inputs: Tensor, batch_data_samples: Any = None) -> Tensor:
        """Logits ``(N, 1 + C, H, W)`` of images, background first."""
        logits = self.decode_head(self.extract_feat(inputs))
        return resized_maps(logits, self.backbone.pixels(inputs))

    def _forward(self, inputs: Tensor, data_samples: Any = None) -> Tensor:
        """Logits of the decoder, on its grid."""
        return self.decode_head(self.extract_feat(inputs))

    @property
    def net(self) -> TimmMaps | None:
        """The network of feature maps below the transformer, if there is one."""
        found = (m for m in self.backbone.modules() if isinstance(m, TimmMaps))
        return next(found, None)

    def packed(self, images: Tensor) -> Tensor:
        """The images, or the features of the network below the transformer.

        The transformer and the decoder then read what was computed once.
        """
        net = self.net
        return images if net is None or net.is_packed(images) else net.pack(net(images))

    def decoder_maps(self, images: Tensor, tokens: Tokens) -> tuple[Tensor, ...]:
        """Maps for the decoder, of :meth:`packed` images and their tokens."""
        net = self.net
        return (*(net.unpack(images) if net else ()), tokens.patch)

    def mirrored(self, images: Tensor) -> Tensor:
        """Images or packed features, left and right exchanged."""
        net = self.net
        if net is None or not net.is_packed(images):
            return mirrored(images)
        return net.pack([mirrored(each) for each in net.unpack(images)])

    def next_step(self) -> int:
        """The number of this training step, from 0."""
        step = int(self.steps)
        self.steps += self.training
        return step

    def batch_of(
        self, images: Tensor, labels: Tensor, samples: Sequence[ClassSample] = ()
    ) -> Batch:
        """What a batch is trained on.

        Raises:
            ConfigError: Features stand for the images, and there are several scales.
            DataError: Features stand for the images, and the samples have no photos.
        """
        packed = self.net is not None and self.net.is_packed(images)
        if packed and set(self.scales) != {1.0}:
            raise ConfigError(
                f'kept features are of one scale, not of {self.scales}: set scales=(1.0,)',
                token='scales',
            )
        size = self.backbone.pixels(images)
        photos = [s.photo for s in samples if 'photo' in s]
        if packed and not photos:
            raise DataError(
                f'{type(self).__name__} refines labels by colours, and kept features have '
                'none: put LoadPhoto after LoadView into the pipeline'
            )
        if photos:
            colours = torch.stack(photos).to(images) / 255
        else:
            prepare = self.data_preprocessor
            pixels = images * prepare.std + prepare.mean
            colours = pixels.clamp(0, 255).to(torch.uint8).to(images) / 255
        whole = (0, size[0], 0, size[1])
        boxes = [s.metainfo.get('img_box', whole) for s in samples]
        draws = [s.metainfo['draw'] for s in samples if 'draw' in s.metainfo]
        return Batch(
            images=images,
            labels=labels,
            size=size,
            colours=colours,
            boxes=torch.tensor(boxes or [whole] * len(images), device=images.device),
            draws=draws if len(draws) == len(images) else None,
        )

    def decoder_losses(
        self, maps: Sequence[Tensor], batch: Batch, target: Tensor
    ) -> dict[str, Tensor]:
        """Losses of the decoder.

        Args:
            maps: Of :meth:`decoder_maps`.
            batch: The batch.
            target: ``(N, h, w)`` pseudo labels on the grid of the colours.
        """
        size = batch.colours.shape[2:]
        logits = resized_maps(self.decode_head(maps), size)
        terms: Any = self.decode_head.loss_decode
        terms = terms if isinstance(terms, nn.ModuleList) else [terms]
        found = [term(logits, target, ignore_index=IGNORE) for term in terms]
        losses = dict(loss_seg=torch.stack(found).sum())
        if self.energy_loss is not None:
            photos, box = 255 * batch.colours, inside(batch.inner, size)
            losses['loss_energy'] = self.energy_loss(logits, photos, target, box)
        return losses


def waiting(*parts: nn.Module) -> Tensor:
    """A loss of 0 in which all weights of modules have a part.

    Distributed training waits for the gradient of every weight, and weights decay with a
    gradient of 0 as they do in the released codes, which multiply a loss by 0.
    """
    weights = [p for part in parts for p in part.parameters() if p.requires_grad]
    return torch.stack([0 * weight.sum() for weight in weights]).sum()
