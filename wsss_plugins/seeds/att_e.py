"""The class maps of eX-ViT, whole or of one attribute."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from wsss_plugins.backbones import TokenBackbone, Trace
from wsss_plugins.classifiers import AttributeHead, WSSSClassifier
from wsss_plugins.errors import ConfigError, UserError
from wsss_plugins.registry import SEED_HEADS
from wsss_plugins.seeds.cam import CAM


@SEED_HEADS.register_module()
class AttributeCAM(CAM):
    """The attribute-guided feature map, passed through the classification layer.

    Each patch's class logit from ``M = F^ * G``, the sum over the attributes. The paper
    defines the prediction of the image from M and does not define maps. Applying the
    classification layer to each patch makes both consistent.

    Source: Yu et al., eX-ViT, 2022, eqs. 7 to 12.

    Args:
        fuse_blocks: K, the number of last blocks that ``F^`` is the mean of (eq. 10,
            figure 8); by default as in training.
        attribute: Index 0 to S - 1 of the attribute whose contribution to the logits,
            without the bias, is the map; by default all attributes.
        floor: See :class:`CAM`.

    Raises:
        ConfigError: A number is out of range, or ``floor`` is unknown.
    """

    def __init__(
        self,
        fuse_blocks: int | None = None,
        attribute: int | None = None,
        floor: str = 'zero',
    ) -> None:
        super().__init__(floor)
        if fuse_blocks is not None and fuse_blocks < 1:
            raise ConfigError(
                f'fuse_blocks must be 1 or more, not {fuse_blocks}', token='fuse_blocks'
            )
        if attribute is not None and attribute < 0:
            raise ConfigError(
                f'attribute must be 0 or more, not {attribute}', token='attribute'
            )
        self.fuse_blocks = fuse_blocks
        self.attribute = attribute

    def check_model(self, model: WSSSClassifier) -> None:
        """Refuses a model without attributes, or whose maps the arguments cannot change.

        Raises:
            UserError: The model has no :class:`AttributeHead`, or ``fuse_blocks``
                cannot change its maps.
        """
        super().check_model(model)
        head, backbone = model.head, model.backbone
        if not isinstance(head, AttributeHead):
            raise UserError(
                'AttributeCAM shows the attributes of an AttributeHead, and the head is '
                f'a {type(head).__name__}: train an eX-ViT (configs/exvit), or take CAM'
            )
        count = head.atte.num_attributes
        if self.attribute is not None and self.attribute >= count:
            raise ConfigError(
                f'there is no attribute {self.attribute}: the model has 0 to {count - 1}',
                token='attribute',
            )
        reads = head.classify == 'attributes' or _patch_is_fused(backbone)
        if self.fuse_blocks is not None and not (reads and hasattr(backbone, 'fuse')):
            raise UserError(
                f'fuse_blocks={self.fuse_blocks} changes nothing: the class maps of this '
                f'{type(backbone).__name__} with classify={head.classify!r} come from '
                'its last block; leave it out'
            )

    def logits(self, model: WSSSClassifier, trace: Trace) -> Tensor:
        """The logits of each patch from the attributes, ``(N, C, h, w)``."""
        tokens = trace.tokens
        if self.fuse_blocks is not None:
            backbone = model.backbone
            fused = backbone.fuse(trace.hidden, trace.grid, self.fuse_blocks)
            patch = fused if _patch_is_fused(backbone) else tokens.patch
            tokens = replace(tokens, fused=fused, patch=patch)
        if self.attribute is None:
            return model.cam_logits(tokens)
        return model.head.attribute_logits(tokens)[:, self.attribute]


def _patch_is_fused(backbone: TokenBackbone) -> bool:
    """Whether the patch tokens themselves are the mean over the last blocks."""
    return getattr(backbone, 'patch', 'last') == 'fused'
