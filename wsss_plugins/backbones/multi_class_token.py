"""The encoder of MCTformer: a vision transformer with one class token per class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from wsss_plugins.backbones.base import Tokens
from wsss_plugins.backbones.timm_files import fill_vit
from wsss_plugins.backbones.timm_kinds import check_one_class
from wsss_plugins.backbones.timm_vit import TimmViT, build_vit, check_arch
from wsss_plugins.backbones.weights import read_weights
from wsss_plugins.errors import CheckpointError, ConfigError
from wsss_plugins.registry import MODELS

POSITIONS = ('clean', 'released')


@MODELS.register_module()
class MultiClassTokenViT(TimmViT):
    """Any plain ViT or DeiT of timm with C class tokens instead of one.

    The token of class c is prefix token c; a distillation token follows the class
    tokens. Weights of a model with one class token can be loaded: the token and its
    position embedding are repeated C times, as in the released code, so that all class
    tokens start equal. In training from scratch each class token starts with its own
    random values. Weights of MCTformer and MCTformer+ are loaded as they are.

    Source: Xu et al., Multi-class Token Transformer for Weakly Supervised Semantic
    Segmentation, 2022.

    Args:
        name: See :class:`TimmViT`.
        num_classes: C.
        pretrained: See :class:`TimmViT`.
        stem: See :class:`TimmViT`.
        final_norm: See :class:`TimmViT`; the released code computes and does not use it.
        pos_embed: How position embeddings meet another grid, bicubic in both: ``'clean'``
            exactly to its size, so that the trained grid is met as it is (as MCTformer+);
            ``'released'`` by a factor of (side + 0.1) / trained side (as V1 and V2), which
            shifts every position by up to a tenth of a patch, to one side, and does so on
            every grid that is not square.
        std_eps: See :class:`TimmViT`.
        checkpoint: See :class:`TimmViT`.
        init_cfg: See :class:`TimmViT`.
        arch: See :class:`TimmViT`.

    Attributes:
        num_class_tokens: C.
        report: What was loaded, where weights were given as a file.

    Raises:
        ConfigError: The name or an argument is unknown, or the model has no class
            token.
        CheckpointError: The weights cannot be loaded or do not fit.
    """

    def __init__(
        self,
        name: str | VisionTransformer | None = None,
        *,
        num_classes: int,
        pretrained: bool | str | None = False,
        stem: str | Mapping[str, Any] = 'patch',
        final_norm: bool = False,
        pos_embed: str = 'clean',
        std_eps: float | None = None,
        checkpoint: bool = False,
        init_cfg: dict[str, Any] | None = None,
        **arch: Any,
    ) -> None:
        if pos_embed not in POSITIONS or num_classes < 1:
            raise ConfigError(
                f'MultiClassTokenViT needs pos_embed of {POSITIONS} and num_classes >= 1, '
                f"not '{pos_embed}' and {num_classes}",
                token='num_classes' if num_classes < 1 else 'pos_embed',
            )
        if init_cfg and init_cfg.get('type') == 'Pretrained':
            pretrained, init_cfg = init_cfg['checkpoint'], None
        named = name is None or isinstance(name, str)
        scratch = not pretrained and named
        path = pretrained if isinstance(pretrained, str) else None
        own = {} if path is None else multi_class_weights(path, num_classes)
        if name is None or isinstance(name, str):
            check_arch(arch, MultiClassTokenViT)
            built: Any = build_vit(name, pretrained is True, stem, **arch)
        else:
            built = name
        super().__init__(
            check_one_class(built, 'MultiClassTokenViT'),
            False if path is None or own else path,
            final_norm=final_norm,
            std_eps=std_eps,
            checkpoint=checkpoint,
            init_cfg=init_cfg,
        )
        self.pos_embed = pos_embed
        repeat_class_token(self.vit, num_classes, scratch)
        self.num_class_tokens = num_classes
        self.num_prefix = self.vit.num_prefix_tokens
        if own:
            self.report = fill_vit(self.vit, own, str(path))
        elif not scratch:
            print_log(
                f'the class token and its position were repeated for {num_classes} classes',
                logger='current',
            )

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tokens:
        """See :meth:`TokenBackbone.forward`."""
        tokens, positions = self.embed(images, keep)
        tokens = self.vit.norm_pre(self.vit.pos_drop(tokens + positions))
        layers = []
        blocks: Any = self.vit.blocks
        for block in blocks:
            tokens = self.run_block(block, tokens)
            layers.append(tokens[:, : self.num_prefix].clone())
        grid = self.grid(images) if keep is None else (1, keep.shape[1])
        output = self.finish(tokens, grid)
        return Tokens(output.prefix, output.patch, None, torch.stack(layers))

    def _resample(self, table: Tensor, grid: tuple[int, int]) -> Tensor:
        """Position embeddings ``(1, n, D)`` of the trained grid, on ``grid``."""
        return resample_positions(
            table, self.vit.patch_embed.grid_size, grid, self.pos_embed == 'released'
        )


def resample_positions(
    table: Tensor,
    trained: tuple[int, int],
    grid: tuple[int, int],
    released: bool = False,
    square: bool | None = None,
) -> Tensor:
    """Position embeddings of the patches on another grid, bicubic.

    Args:
        table: ``(1, n, D)``, row-major.
        trained: ``(h, w)`` with n = h * w.
        grid: The grid wanted.
        released: Sample at a factor of (side + 0.1) / trained side, as the released code
            of MCTformer V1 and V2 does.
        square: For ``released``, whether the image is as high as wide in pixels: then a
            table of the trained grid is taken as it is. By default as the grid is.

    Returns:
        ``(1, h' * w', D)``.
    """
    if square is None:
        square = grid[0] == grid[1]
    if tuple(trained) == tuple(grid) and (square or not released):
        return table
    maps = table.transpose(1, 2).unflatten(2, tuple(trained))
    if released:
        rows, columns = ((g + 0.1) / t for g, t in zip(grid, trained, strict=True))
        maps = F.interpolate(
            maps, scale_factor=(rows, columns), mode='bicubic', align_corners=False
        )
    else:
        maps = F.interpolate(maps, size=grid, mode='bicubic', align_corners=False)
    return maps.flatten(2).transpose(1, 2)


def repeat_class_token(vit: VisionTransformer, count: int, scratch: bool) -> None:
    """Gives ``vit`` many class tokens.

    Args:
        vit: The model, which is changed in place.
        count: Number of class tokens.
        scratch: Whether the class tokens start with random values rather than as
            copies.

    Raises:
        ConfigError: ``vit`` has no class token.
    """
    if vit.cls_token is None:
        raise ConfigError(
            'MultiClassTokenViT repeats the class token, and this model has none: leave '
            'class_token=False out, or name another model',
            token='class_token',
        )
    with torch.no_grad():
        tokens = vit.cls_token.repeat(1, count, 1)
        table: Any = vit.pos_embed
        if scratch:
            nn.init.trunc_normal_(tokens, std=0.02)
        if not vit.no_embed_class:
            first = table[:, :1].repeat(1, count, 1)
            if scratch:
                nn.init.trunc_normal_(first, std=0.02)
            vit.pos_embed = nn.Parameter(torch.cat([first, table[:, 1:]], 1))
    vit.cls_token = nn.Parameter(tokens)
    vit.num_prefix_tokens += count - 1


def multi_class_weights(path: str, count: int) -> dict[str, Tensor]:
    """The weights in a file of a model with several class tokens.

    Args:
        path: The file.
        count: How many class tokens are wanted.

    Returns:
        Name to tensor, positions in one table; nothing where the file is of a model with
        one class token.

    Raises:
        CheckpointError: The file is missing or damaged, or has another number of class
            tokens.
    """
    weights = {
        name.removeprefix('backbone.').removeprefix('vit.'): value
        for name, value in read_weights(path).items()
    }
    token = weights.get('cls_token')
    if token is None or token.shape[1] == 1:
        return {}
    if token.shape[1] != count:
        raise CheckpointError(
            f'checkpoint {path} has tokens for {token.shape[1]} classes, not for {count}: '
            'give one for these classes, or one of a model with one class token'
        )
    parts = [weights.pop(f'pos_embed_{part}', None) for part in ('cls', 'pat')]
    if parts[0] is not None and parts[1] is not None:
        weights['pos_embed'] = torch.cat([parts[0], parts[1]], 1)
    return weights
