"""The encoder of eX-ViT: a vision transformer whose attention is E-MHA."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from wsss_plugins.backbones.base import Tokens
from wsss_plugins.backbones.emha import EMHA, check_options
from wsss_plugins.backbones.explicit import ExplicitViT
from wsss_plugins.backbones.timm_files import fill_vit
from wsss_plugins.backbones.timm_kinds import check_one_class
from wsss_plugins.backbones.timm_vit import TimmViT, build_vit, check_arch
from wsss_plugins.backbones.weights import LoadReport
from wsss_plugins.errors import CheckpointError, ConfigError, UserError
from wsss_plugins.registry import MODELS


@MODELS.register_module()
class ExViT(TimmViT):
    """Any plain ViT or DeiT of timm with :class:`EMHA` instead of softmax attention.

    :attr:`Tokens.fused` is the mean over the outputs of the last blocks (eq. 10).
    Weights of the softmax model can be loaded. The keys that were loaded, left out and
    newly initialised are logged and kept in :attr:`report`.

    Source: Yu et al., eX-ViT, 2022, eqs. 1 to 6 and 10.

    Args:
        name: See :class:`TimmViT`; None builds one of the size in ``arch``.
        norm: See :class:`EMHA`.
        bias: See :class:`EMHA`.
        bias_init: See :class:`EMHA`.
        scale: See :class:`EMHA`.
        fuse_blocks: K, the number of last blocks that :attr:`Tokens.fused` is the mean
            of.
        fuse_norm: Whether the output of each block passes through the last LayerNorm
            before the mean. By default as ``final_norm``: the residual stream grows
            with depth, and without the norm the last block would dominate the mean.
        patch: The tokens in :attr:`Tokens.patch`: those of the ``'last'`` block or the
            ``'fused'`` tokens (E-MHA-CAM of table 5 with a plain head).
        pretrained: See :class:`TimmViT`.
        stem: See :class:`TimmViT`.
        final_norm: See :class:`TimmViT`.
        pos_embed: See :class:`TimmViT`.
        checkpoint: See :class:`TimmViT`.
        init_cfg: See :class:`TimmViT`.
        arch: See :class:`TimmViT`.

    Attributes:
        report: What was loaded, where weights were given.

    Raises:
        ConfigError: The name or an argument is unknown, or ``fuse_blocks`` exceeds the
            number of blocks.
        CheckpointError: The weights cannot be loaded or do not fit.
    """

    def __init__(
        self,
        name: str | VisionTransformer | None = None,
        norm: str = 'key',
        bias: str = 'head',
        bias_init: float = 0.0,
        scale: str = 'none',
        fuse_blocks: int = 3,
        fuse_norm: bool | None = None,
        patch: str = 'last',
        pretrained: bool | str | None = False,
        stem: str | Mapping[str, Any] = 'patch',
        final_norm: bool = True,
        pos_embed: str = 'bicubic',
        checkpoint: bool = False,
        init_cfg: dict[str, Any] | None = None,
        **arch: Any,
    ) -> None:
        check_options(norm, bias, bias_init, scale)
        check_arch(arch, ExViT)
        _check_fusion(patch, fuse_norm, final_norm)
        if pretrained is True and not isinstance(name, str):
            raise ConfigError(
                'pretrained=True needs the name of a timm model: give one, or a file as '
                'pretrained=FILE',
                token='pretrained',
            )
        built: Any = name
        if name is None or isinstance(name, str):
            built = build_vit(name, False, stem, **arch)
        vit = check_one_class(built, 'ExViT')
        grid, prefix = vit.patch_embed.grid_size, vit.num_prefix_tokens
        blocks: Any = vit.blocks
        for block in blocks:
            attn = getattr(block, 'attn', block)  # of blocks without: refused by name
            block.attn = EMHA.of(attn, norm, bias, bias_init, scale, grid, prefix)
        source = False if pretrained is True else pretrained  # that of timm: see below
        super().__init__(
            vit,
            source,
            final_norm=final_norm,
            pos_embed=pos_embed,
            checkpoint=checkpoint,
            init_cfg=init_cfg,
        )
        if pretrained is True:
            weights = build_vit(str(name), True).state_dict()
            self.report = fill_vit(self.vit, weights, str(name))
        self.fuse_blocks = self._checked(fuse_blocks)
        self.fuse_norm = final_norm if fuse_norm is None else fuse_norm
        self.patch = patch
        if self.report is not None:
            check_biases(self.report, self.vit)
            print_log(key_by_key(self.report), logger='current')

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tokens:
        """See :meth:`TokenBackbone.forward`."""
        tokens, positions = self.embed(images, keep)
        tokens = self.vit.norm_pre(self.vit.pos_drop(tokens + positions))
        grid = self.grid(images)
        last: deque[Tensor] = deque(maxlen=self.fuse_blocks)
        blocks: Any = self.vit.blocks
        for block in blocks:
            bias = block.attn.bias_on(grid, keep)
            kwargs = {} if bias is None else {'attn_mask': bias}
            tokens = self.run_block(block, tokens, **kwargs)
            last.append(tokens)
        if keep is not None:
            grid = (1, keep.shape[1])
        output = self.finish(tokens, grid)
        fused = self.fuse(last, grid, self.fuse_blocks)
        patch = fused if self.patch == 'fused' else output.patch
        return Tokens(output.prefix, patch, fused)

    def fuse(
        self, hidden: Sequence[Tensor], grid: tuple[int, int], blocks: int
    ) -> Tensor:
        """The mean over the patch tokens of the last blocks (eq. 10).

        Args:
            hidden: Outputs of the blocks, ``(N, T, D)`` each, the last one last, such as
                :attr:`Trace.hidden`.
            grid: ``(h, w)`` of the patches.
            blocks: K, the number of blocks.

        Returns:
            ``(N, D, h, w)``.

        Raises:
            ConfigError: K is not between 1 and the number of blocks.
        """
        chosen = list(hidden)[-self._checked(blocks) :]
        norm = self.vit.norm if self.fuse_norm else torch.nn.Identity()
        mean = torch.stack([norm(tokens) for tokens in chosen]).mean(0)
        patch = mean[:, self.num_prefix :].transpose(1, 2)
        return patch.unflatten(2, grid)

    def explicit(self, start: int | None = None) -> ExplicitViT:
        """Refuses relevance propagation, which has no rule for E-MHA.

        Raises:
            UserError: E-MHA has no rule of relevance propagation.
        """
        raise UserError(
            'relevance propagation has no rule for E-MHA, whose attention is signed and '
            'does not sum to one: use a gradient method such as InputXGradient, the maps '
            'of the model itself, or a softmax TimmViT'
        )

    def _checked(self, blocks: int) -> int:
        depth = len(self.vit.blocks)
        if not 1 <= blocks <= depth:
            raise ConfigError(
                f'the last {blocks} blocks cannot be fused: the encoder has {depth}, '
                f'give 1 to {depth}',
                token='fuse_blocks',
            )
        return blocks


def _check_fusion(patch: str, fuse_norm: bool | None, final_norm: bool) -> None:
    if patch not in ('last', 'fused'):
        raise ConfigError(
            f"patch must be 'last' or 'fused', not '{patch}'", token=patch
        )
    if fuse_norm and not final_norm:
        raise ConfigError(
            'fuse_norm=True needs the last LayerNorm, which final_norm=False leaves out: '
            'set both alike',
            token='fuse_norm',
        )


def check_biases(report: LoadReport, vit: VisionTransformer) -> None:
    """Refuses weights whose trained bias would be lost.

    Raises:
        CheckpointError: The checkpoint has a bias of another shape, or one that ``vit``
            does not have.
    """
    lost = [
        key
        for key in (*report.other_shape, *report.unexpected)
        if key.endswith('.attn.bias')
    ]
    if lost:
        own = vit.state_dict().get(lost[0])
        shape = 'none' if own is None else str(tuple(own.shape))
        raise CheckpointError(
            f'the checkpoint has a trained {lost[0]} that does not fit (here: {shape}): '
            'build the model with the bias and img_size that it was trained with'
        )


def key_by_key(report: LoadReport) -> str:
    """Every key of a report; keys that differ only in the block's number share a line.

    Args:
        report: What was loaded.

    Returns:
        A line per kind, such as ``new: blocks.*.attn.bias (12)``.
    """
    titles = {
        'loaded': report.loaded,
        'new': report.missing,
        'left out': report.unexpected,
        'left out, other shape': report.other_shape,
    }
    lines = []
    for title, keys in titles.items():
        many = Counter(re.sub(r'^blocks\.\d+\.', 'blocks.*.', key) for key in keys)
        names = [f'{key} ({n})' if '*' in key else key for key, n in many.items()]
        lines.append(f'{title}: {", ".join(names) or "none"}')
    return '\n'.join(lines)
