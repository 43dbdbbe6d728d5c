"""Pretraining without labels: the backbone restores damaged patches of images."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor, nn

from wsss_plugins.backbones import TokenBackbone
from wsss_plugins.classifiers.classifier import IMAGENET_MEAN, IMAGENET_STD
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import MODELS, build_as
from wsss_plugins.structures import ClassSample


@MODELS.register_module()
class MaskedDenoiser(BaseModel):
    """A token backbone and one linear layer that predict the pixels of the undamaged image.

    Some patches are blanked and all others are shifted in colour, each by its own
    amount. The colour of a patch is then best predicted from other patches of the same
    surface, so attention learns which patches belong together, also in the background.
    No label is used.

    Source: the linear head on blanked patches is that of SimMIM (Xie et al., CVPR 2022),
    the shifted patches are a denoising autoencoder (Vincent et al., JMLR 2010). Unlike
    SimMIM, blanked patches are grey pixels rather than a learnt token, so that a
    convolutional stem cannot see into them, and all patches are predicted.

    The model follows mmengine's model interface, with ``mode`` ``'loss'``,
    ``'predict'`` or ``'tensor'``.

    Args:
        backbone: A :class:`TokenBackbone` or its config.
        mask_ratio: Probability that a patch is blanked, in [0, 1).
        colour_shift: Standard deviation of the shift of the other patches, in standard
            deviations of the pixels, >= 0.
        pixels: Side of the square of colours that is predicted for each patch; it
            divides the backbone's stride.
        mean: RGB mean of the images, in 0..255.
        std: RGB standard deviation.
        init_cfg: mmengine's.

    Raises:
        ConfigError: ``backbone`` is not a :class:`TokenBackbone`, or a number is out of
            range.
    """

    learns_from_labels: ClassVar[bool] = False

    def __init__(
        self,
        backbone: dict[str, Any] | TokenBackbone,
        mask_ratio: float = 0.5,
        colour_shift: float = 0.5,
        pixels: int = 4,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        preprocessor = dict(type='ImgDataPreprocessor', mean=list(mean), std=list(std))
        super().__init__(data_preprocessor=preprocessor, init_cfg=init_cfg)
        self.backbone = build_as(MODELS, backbone, TokenBackbone)
        if not 0 <= mask_ratio < 1 or colour_shift < 0:
            raise ConfigError(
                'mask_ratio must be in [0, 1) and colour_shift >= 0, not '
                f'{mask_ratio} and {colour_shift}',
                token='mask_ratio' if not 0 <= mask_ratio < 1 else 'colour_shift',
            )
        if pixels < 1 or self.backbone.stride % pixels:
            raise ConfigError(
                f'pixels must divide the stride {self.backbone.stride} of the backbone, '
                f'not be {pixels}',
                token='pixels',
            )
        self.mask_ratio = mask_ratio
        self.colour_shift = colour_shift
        self.pixels = pixels
        self.decoder = nn.Linear(self.backbone.embed_dims, 3 * pixels**2)

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[ClassSample] | None = None,
        mode: str = 'tensor',
    ) -> Any:
        """Runs the model.

        Args:
            inputs: ``(N, 3, H, W)``, normalised, sides multiples of the stride.
            data_samples: One per image; ``'predict'`` fills them in.
            mode: ``'loss'`` returns a dict of losses, ``'predict'`` the samples with
                ``pred_error`` and ``variance`` (of the colours, about their mean in the
                image), ``'tensor'`` the colours predicted for the undamaged images,
                ``(N, 3, h * pixels, w * pixels)``.
        """
        if mode == 'tensor':
            return self.mend(inputs)
        if mode == 'loss':
            mended = self.mend(self.damage(inputs))
            return dict(loss_pixels=F.mse_loss(mended, self.target(inputs)))
        always = torch.Generator().manual_seed(0)
        mended = self.mend(self.damage(inputs, always)).detach()
        error = (mended - self.target(inputs)).square()
        variance = self.target(inputs).var((2, 3), correction=0).mean(1)
        samples = data_samples or []
        for sample, e, v in zip(samples, error.mean((1, 2, 3)), variance, strict=True):
            sample.set_field(float(e), 'pred_error', dtype=float)
            sample.set_field(float(v), 'variance', dtype=float)
        return samples

    def damage(
        self, images: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images ``(N, 3, H, W)`` with blanked and shifted patches.

        Args:
            images: Normalised.
            generator: Source of the random numbers, on the CPU.
        """
        grid = self.backbone.grid(images)
        shift = torch.randn(len(images), 3, *grid, generator=generator)
        stay = torch.rand(len(images), 1, *grid, generator=generator) >= self.mask_ratio
        shift, stay = (
            F.interpolate(values.to(images), images.shape[-2:], mode='nearest')
            for values in (shift * self.colour_shift, stay)
        )
        return (images + shift) * stay

    def mend(self, images: Tensor) -> Tensor:
        """Predicts the colours of images ``(N, 3, H, W)``; see mode ``'tensor'``."""
        colours = self.decoder(self.backbone(images).patch.movedim(1, -1))
        return F.pixel_shuffle(colours.movedim(-1, 1), self.pixels)

    def target(self, images: Tensor) -> Tensor:
        """The images, mean-pooled to ``pixels`` x ``pixels`` colours for each patch."""
        return F.avg_pool2d(images, self.backbone.stride // self.pixels)
