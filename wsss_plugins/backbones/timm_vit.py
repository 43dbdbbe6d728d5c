"""Vision transformers of timm as backbones, also of custom size."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.models import is_model_in_modules
from timm.models.eva import Eva
from timm.models.vision_transformer import ParallelThingsBlock, VisionTransformer
from torch import Tensor, nn

from wsss_plugins.backbones.base import TokenBackbone, Tokens
from wsss_plugins.backbones.explicit import ExplicitViT
from wsss_plugins.backbones.explicit_blocks import ThingsBlock
from wsss_plugins.backbones.hybrid import MapsStem, vit_on_maps
from wsss_plugins.backbones.recompute import run_and_forget, run_stem_and_forget
from wsss_plugins.backbones.std_conv import divide_by_deviation
from wsss_plugins.backbones.stem import STEMS
from wsss_plugins.backbones.timm_files import load_vit
from wsss_plugins.backbones.timm_kinds import (
    MODULES,
    attention_of,
    check_plain,
    hidden_attention,
)
from wsss_plugins.backbones.timm_weights import create_timm_model
from wsss_plugins.backbones.weights import LoadReport
from wsss_plugins.errors import ConfigError, near_names
from wsss_plugins.registry import MODELS

RESAMPLINGS = ('bicubic', 'bicubic_plain', 'bilinear')


@MODELS.register_module()
class TimmViT(TokenBackbone):
    """Plain ViT, DeiT, R50-hybrid, EVA-02 or DINOv3 by timm name, or of custom size.

    The sides of the input may be any multiples of the stride; the position embeddings
    are resampled, and rotary ones computed. Attention is fused except inside a ``capture``.
    docs/generated/timm_vits.md lists what each model of timm can be used for.

    Sources: Dosovitskiy et al., An Image is Worth 16x16 Words, 2021; Touvron et al.,
    Training Data-efficient Image Transformers, 2021.

    Args:
        name: A timm model, e.g. ``'vit_base_patch16_224'``, ``'deit_small_patch16_224'``,
            ``'deit_base_distilled_patch16_384'``, ``'vit_base_r50_s16_384'``. None
            builds timm's ``VisionTransformer`` from ``arch`` alone. A built model is
            used as it is.
        pretrained: True for timm's weights of that name, a path for a local file.
        stem: ``'patch'``; or for custom sizes ``'conv'`` (:class:`ConvStem`),
            ``'conv_group'`` (with group norm for batch norm), or a dict of a network
            of timm whose maps become the tokens (:class:`MapsStem`).
        final_norm: Whether the tokens pass through the last LayerNorm. The released ACR
            code computes this norm and does not use the result.
        pos_embed: How position embeddings are resampled to another grid: ``'bicubic'``
            (antialiased, as timm), ``'bicubic_plain'`` (not antialiased, as DINO and ToCo)
            or ``'bilinear'`` (as DPT and ACR).
        std_eps: Number that is added to the standard deviation of the weights in the
            standardised convolutions of a hybrid (1e-5 in the released ACR code). None
            keeps timm's formula, which adds 1e-8 to the variance.
        checkpoint: Whether training uses activation checkpointing: only the inputs of
            each block and of a hybrid's CNN are stored, and the other activations are
            recomputed in the backward pass. Values and gradients stay the same, with
            less memory and more time. Applies in training mode only.
        init_cfg: mmengine's; ``dict(type='Pretrained', checkpoint=FILE)`` means the
            same as ``pretrained=FILE``.
        arch: Keyword arguments of timm's ``VisionTransformer`` (``img_size``,
            ``patch_size``, ``embed_dim``, ``depth``, ``num_heads`` ...).
            ``class_token=False`` leaves the class token out; the last LayerNorm stays.

    Raises:
        ConfigError: Unknown name or argument, or a model that is no plain ViT.
        CheckpointError: The weights cannot be loaded or do not fit.
    """

    def __init__(
        self,
        name: str | VisionTransformer | Eva | None = None,
        pretrained: bool | str | None = False,
        stem: str | Mapping[str, Any] = 'patch',
        final_norm: bool = True,
        pos_embed: str = 'bicubic',
        std_eps: float | None = None,
        checkpoint: bool = False,
        init_cfg: dict[str, Any] | None = None,
        **arch: Any,
    ) -> None:
        if init_cfg and init_cfg.get('type') == 'Pretrained':
            pretrained, init_cfg = init_cfg['checkpoint'], None
        super().__init__(init_cfg)
        if pos_embed not in RESAMPLINGS:
            raise ConfigError(
                f"pos_embed must be one of {RESAMPLINGS}, not '{pos_embed}'",
                token='pos_embed',
            )
        self.pos_embed = pos_embed
        self.final_norm = final_norm
        self.checkpoint = checkpoint
        if isinstance(name, str) or name is None:
            name = build_vit(name, pretrained is True, stem, **arch)
        check_plain(name, type(name).__name__)
        self.vit: Any = name
        for place, block in enumerate(self.vit.blocks):
            if type(block) is ParallelThingsBlock:
                self.vit.blocks[place] = ThingsBlock(block)
        if std_eps is not None:
            divide_by_deviation(self.vit.patch_embed, std_eps)
        self.vit.patch_embed.strict_img_size = False
        self.vit.patch_embed.flatten = True  # with dynamic_img_size timm keeps a grid
        unused = [self.vit.fc_norm, self.vit.attn_pool]  # of timm's own head
        for part in (*unused, *([] if final_norm else [self.vit.norm])):
            if part is not None:
                part.requires_grad_(False)  # distributed training would wait for them
        self.embed_dims = self.vit.embed_dim
        ratio: Any = self.vit.patch_embed.feat_ratio()
        self.stride = int(ratio)
        self.num_prefix = self.vit.num_prefix_tokens
        self.num_class_tokens = int(
            self.vit.cls_token is not None
        )  # registers are none
        self.without_attention = hidden_attention(self.vit.blocks) or ''
        self.report: LoadReport | None = None
        if isinstance(pretrained, str):
            self.report = load_vit(self.vit, pretrained)

    @property
    def trained_size(self) -> tuple[int, int]:
        """``(H, W)`` of the images that the position embeddings were made for."""
        height, width = self.vit.patch_embed.img_size
        return height, width

    @property
    def multiple(self) -> int:
        """See :attr:`TokenBackbone.multiple`; that of the stem's network if it has one."""
        stem = self.vit.patch_embed
        return stem.backbone.multiple if isinstance(stem, MapsStem) else self.stride

    def pixels(self, images: Tensor) -> tuple[int, int]:
        """See :meth:`TokenBackbone.pixels`."""
        stem = self.vit.patch_embed
        if isinstance(stem, MapsStem):
            return stem.backbone.pixels(images)
        return super().pixels(images)

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tokens:
        """See :meth:`TokenBackbone.forward`."""
        tokens, positions = self.embed(images, keep)
        tokens = self.vit.norm_pre(self.vit.pos_drop(tokens + positions))
        rotations = self.rotations(self.grid(images), keep)
        for block, rope in zip(self.blocks(), rotations, strict=True):
            kwargs = {} if rope is None else {'rope': rope}
            tokens = self.run_block(block, tokens, **kwargs)
        return self.finish(
            tokens, self.grid(images) if keep is None else (1, keep.shape[1])
        )

    def run_block(self, block: Any, tokens: Tensor, **kwargs: Any) -> Tensor:
        """The output of one block; with ``checkpoint`` its activations are recomputed.

        Args:
            block: One of :meth:`blocks`.
            tokens: ``(N, T, D)``.
            kwargs: Arguments of the block.

        Returns:
            ``(N, T, D)``.
        """
        if self._forgets:
            return run_and_forget(block, tokens, **kwargs)
        return block(tokens, **kwargs)

    @property
    def _forgets(self) -> bool:
        return self.checkpoint and self.training and torch.is_grad_enabled()

    def finish(self, sequence: Tensor, grid: tuple[int, int]) -> Tokens:
        """See :meth:`TokenBackbone.finish`."""
        if self.final_norm:
            sequence = self.vit.norm(sequence)
        prefix, patch = sequence.tensor_split((self.num_prefix,), 1)
        return Tokens(prefix, patch.transpose(1, 2).unflatten(2, grid))

    def blocks(self) -> list[nn.Module]:
        """See :meth:`TokenBackbone.blocks`."""
        return list(self.vit.blocks)

    def explicit(self, start: int | None = None) -> ExplicitViT:
        """See :meth:`TokenBackbone.explicit`."""
        return ExplicitViT(self, start)

    def init_weights(self) -> None:
        """Does nothing: mmengine would overwrite the weights that timm has set."""

    def attention_modules(self) -> list[nn.Module]:
        """The dropout after each block's softmax, whose output is multiplied by V."""
        return [layer.attn_drop for layer in self._attention()]

    @contextmanager
    def explicit_attention(
        self, blocks: Collection[int] | None = None
    ) -> Iterator[None]:
        """Switches timm's fused attention off in the blocks until the context ends."""
        layers = self._attention()
        if blocks is not None:
            layers = [layers[block] for block in blocks]
        fused = [layer.fused_attn for layer in layers]
        try:
            for layer in layers:
                layer.fused_attn = False
            yield
        finally:
            for layer, was in zip(layers, fused, strict=True):
                layer.fused_attn = was

    def _attention(self) -> list[Any]:
        if self.without_attention:
            return []
        return [attention_of(block) for block in self.vit.blocks]

    def rotations(
        self, grid: tuple[int, int], keep: Tensor | None = None
    ) -> list[Tensor | None]:
        """Rotary positions on a grid, for each block; None for a model without.

        Args:
            grid: ``(h, w)`` of the patches.
            keep: See :meth:`TokenBackbone.forward`.

        Returns:
            Sine and cosine of the angles of the patches, ``(n, 2 * d)`` of all heads or
            ``(heads, n, 2 * d)``; with ``keep``, of those ``(N, 1 or heads, n, 2 * d)``.
        """
        rope, depth = getattr(self.vit, 'rope', None), len(self.vit.blocks)
        if rope is None:
            return [None] * depth
        if hasattr(rope, 'update_feat_shape'):
            rope.update_feat_shape(grid)  # a cached table is of one grid
        table = rope.get_embed(shape=grid)
        each = list(table) if self.vit.rope_mixed else [table] * depth
        if keep is None:
            return each
        if self.vit.rope_mixed:
            return [t[:, keep].transpose(0, 1) for t in each]
        return [t[keep][:, None] for t in each]

    def embed(
        self, images: Tensor, keep: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Prefix and patch tokens, and their position embeddings, not yet added.

        Args:
            images: ``(N, 3, H, W)``, normalised.
            keep: See :meth:`TokenBackbone.forward`.

        Returns:
            Tokens and positions, ``(N, P + n, D)`` each.
        """
        vit, grid = self.vit, self.grid(images)
        if self._forgets:
            patch = run_stem_and_forget(vit.patch_embed, images)  # (N, h * w, D)
        else:
            patch = vit.patch_embed(images)
        names = ('cls_token', 'dist_token', 'reg_token')
        tokens = [getattr(vit, name, None) for name in names]
        none = patch.new_zeros(1, 0, patch.shape[-1])  # there may be no prefix token
        prefix = torch.cat(
            [none, *(t for t in tokens if t is not None)], 1
        )  # (1, P, D)
        table: Any = vit.pos_embed  # (1, P + trained patches, D)
        on_prefix = 0 if vit.no_embed_class or table is None else self.num_prefix
        prefix_table = table[:, :on_prefix] if on_prefix else torch.zeros_like(prefix)
        if table is None:  # positions are rotary, or there are none
            positions = torch.zeros_like(patch)
        else:
            positions = self._resample(table[:, on_prefix:], grid).expand_as(patch)
        if keep is not None:
            index = keep[..., None].expand(-1, -1, patch.shape[-1])
            patch, positions = patch.gather(1, index), positions.gather(1, index)
        many = (len(images), -1, -1)
        return (
            torch.cat([prefix.expand(*many), patch], 1),
            torch.cat([prefix_table.expand(*many), positions], 1),
        )

    def _resample(self, table: Tensor, grid: tuple[int, int]) -> Tensor:
        """Position embeddings ``(1, n, D)`` of the trained grid, on ``grid``."""
        trained = self.vit.patch_embed.grid_size
        if tuple(trained) == grid:
            return table
        square = table.transpose(1, 2).reshape(1, -1, *trained)
        square = F.interpolate(
            square,
            size=grid,
            mode=self.pos_embed.partition('_')[0],
            align_corners=False,
            antialias=self.pos_embed == 'bicubic',
        )
        return square.flatten(2).transpose(1, 2)


def build_vit(
    name: str | None,
    pretrained: bool,
    stem: str | Mapping[str, Any] = 'patch',
    **arch: Any,
) -> VisionTransformer | Eva:
    """Builds a timm model, without its head unless ``num_classes`` is given.

    Args:
        name: See :class:`TimmViT`.
        pretrained: Whether timm downloads its weights.
        stem: See :class:`TimmViT`.
        arch: See :class:`TimmViT`; ``num_classes=None`` keeps timm's own head.

    Raises:
        ConfigError: Unknown name or argument, or a model that is no plain ViT.
        CheckpointError: The weights cannot be fetched.
    """
    if isinstance(stem, Mapping) and name is None:
        check_arch(arch)
        return vit_on_maps(stem, arch)
    if stem != 'patch' and (str(stem) not in STEMS or name is not None):
        raise ConfigError(
            "stem must be 'patch', or without a timm name 'conv', 'conv_group' or a dict; got "
            f"'{stem}' with name={name!r}",
            token='stem',
        )
    eva = name is not None and is_model_in_modules(name.split('.')[0], ('eva',))
    check_arch(arch, of=Eva if eva else VisionTransformer)
    if arch.get('class_token') is False:
        arch = {'global_pool': 'avg', 'fc_norm': False, **arch}  # else timm refuses
    if name is None:
        embed = {'embed_layer': STEMS[str(stem)]} if stem in STEMS else {}
        return VisionTransformer(**{'num_classes': 0, **embed, **arch})
    if name.split('.')[0] not in timm.list_models():
        allowed = near_names(name, timm.list_models(['*vit*', '*deit*', '*eva*']))
        raise ConfigError(f"timm has no model '{name}': {allowed}", token=name)
    # What is no plain ViT is refused below, before its weights are fetched.
    pretrained = pretrained and is_model_in_modules(name.split('.')[0], MODULES)
    vit = create_timm_model(name, pretrained, **{'num_classes': 0, **arch})
    check_plain(vit, name)
    return vit


def check_arch(
    arch: dict[str, Any],
    owner: type[TimmViT] = TimmViT,
    of: type[nn.Module] = VisionTransformer,
) -> None:
    """Refuses arguments that timm's transformer does not have.

    Args:
        arch: Keyword arguments.
        owner: The class that received the arguments; the message also lists the
            arguments of that class.
        of: The class of timm's transformer.

    Raises:
        ConfigError: An argument is unknown.
    """
    allowed = set(inspect.signature(of.__init__).parameters)
    own = set(inspect.signature(owner.__init__).parameters) - {'arch'}
    for key in arch:
        if key not in allowed:
            names = near_names(key, (allowed | own) - {'self'})
            raise ConfigError(
                f"{owner.__name__} takes no argument '{key}': {names}", token=key
            )
