"""timm's blocks with a module for every operation, sharing the weights."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import GluMlp, Mlp, SwiGLU
from timm.models.eva import EvaBlock, EvaBlockPostNorm
from timm.models.vision_transformer import (
    Block,
    ParallelScalingBlock,
    ParallelThingsBlock,
    ResPostBlock,
)
from timm.models.vitamin import GeGluMlp
from torch import Tensor, nn

from wsss_plugins.backbones.explicit_attention import (
    ExplicitAttention,
    Joined,
    unknown,
)
from wsss_plugins.errors import UserError
from wsss_plugins.lrp import (
    Add,
    AttentionValue,
    Fork,
    Product,
    QueryKey,
    Scale,
    Softmax,
)


class ExplicitGatedMlp(nn.Module):
    """A gated MLP: ``GluMlp`` and ``SwiGLU`` of timm, ``GeGluMlp`` of its ViTamin.

    Args:
        mlp: timm's module, whose layers it shares.
    """

    def __init__(self, mlp: Any) -> None:
        super().__init__()
        ours = isinstance(mlp, GeGluMlp)
        self.before = mlp.norm if ours else nn.Identity()
        self.act, self.product = mlp.act, Product()
        if isinstance(mlp, GluMlp):
            self.both, self.gate_last = mlp.fc1, mlp.gate_last
        else:
            gate, signal = (mlp.w0, mlp.w1) if ours else (mlp.fc1_g, mlp.fc1_x)
            self.fork, self.gate, self.signal = Fork(), gate, signal
        self.after = nn.Sequential(
            mlp.drop1,
            nn.Identity() if ours else mlp.norm,
            mlp.w2 if ours else mlp.fc2,
            mlp.drop2,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``(N, T, D)`` to the same shape."""
        x = self.before(x)
        if hasattr(self, 'both'):
            gate, signal = self.both(x).chunk(2, -1)
            if self.gate_last:
                gate, signal = signal, gate
        else:
            first, second = self.fork(x)
            gate, signal = self.gate(first), self.signal(second)
        return self.after(self.product(self.act(gate), signal))


def explicit_mlp(mlp: nn.Module) -> nn.Module:
    """The MLP of a block with a module for every operation.

    Args:
        mlp: timm's module; or one of a user, built of modules alone: an
            ``nn.Sequential``, a single layer, or a module whose class states
            ``operations_are_modules = True``.

    Returns:
        A module that shares the layers.

    Raises:
        UserError: The type of the MLP is not known.
    """
    if type(mlp) in (GluMlp, SwiGLU, GeGluMlp):
        return ExplicitGatedMlp(mlp)
    if not _is_modules(mlp):
        raise UserError(unknown(mlp, 'MLP'))
    return mlp


def _is_modules(module: nn.Module) -> bool:
    """Whether a module does nothing that its sub-modules do not do."""
    if type(module) is nn.Sequential:
        return all(map(_is_modules, module))
    stated = type(module) is Mlp or getattr(module, 'operations_are_modules', False)
    return stated or not any(True for _ in module.children())


class ExplicitBlock(nn.Module):
    """One block of timm, with its norms before or after attention and MLP.

    Args:
        block: timm's module, whose layers it shares.
    """

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.attn = ExplicitAttention(block.attn)
        self.mlp = explicit_mlp(block.mlp)
        norms: tuple[nn.Module, ...] = (block.norm1, block.norm2)
        if type(block) in (ResPostBlock, EvaBlockPostNorm):
            scales, norms = norms, (nn.Identity(), nn.Identity())
        elif type(block) is EvaBlock:
            gammas = block.gamma_1, block.gamma_2
            scales = tuple(nn.Identity() if g is None else Scale(g) for g in gammas)
        else:
            scales = block.ls1, block.ls2
        self.norm1, self.norm2 = norms
        self.after_attn = nn.Sequential(scales[0], block.drop_path1)
        self.after_mlp = nn.Sequential(scales[1], block.drop_path2)
        self.fork1, self.fork2 = Fork(), Fork()
        self.add1, self.add2 = Add(), Add()

    def forward(self, x: Tensor, rope: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Tokens ``(N, T, D)`` to new ones and the attention ``(N, heads, T, T)``."""
        residual, branch = self.fork1(x)
        branch, attn = self.attn(self.norm1(branch), rope)
        x = self.add1(residual, self.after_attn(branch))
        residual, branch = self.fork2(x)
        return self.add2(residual, self.after_mlp(self.mlp(self.norm2(branch)))), attn


class ExplicitScalingBlock(nn.Module):
    """timm's ``ParallelScalingBlock``: attention and MLP read the same tokens.

    Args:
        block: timm's module, whose layers it shares.
    """

    def __init__(self, block: ParallelScalingBlock) -> None:
        super().__init__()
        self.heads, self.parts = block.num_heads, block.in_split
        self.norm, self.first = block.in_norm, block.in_proj
        if block.mlp_bias is not None:
            rest = sum(block.in_split[1:])
            weight: Any = block.in_proj.weight
            self.first = Joined(weight, block.mlp_bias, rest)
        self.q_norm, self.k_norm = block.q_norm, block.k_norm
        self.query_key, self.attention_value = QueryKey(), AttentionValue()
        self.softmax, self.attn_drop = Softmax(block.scale), block.attn_drop
        self.mlp = nn.Sequential(block.mlp_act, block.mlp_drop)
        self.last, self.of_attn = block.out_proj, block.attn_out_proj
        self.of_mlp = block.mlp_out_proj
        self.after = nn.Sequential(block.ls, block.drop_path)
        self.fork, self.add, self.sum = Fork(), Add(), Add()

    def forward(self, x: Tensor, rope: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Tokens ``(N, T, D)`` to new ones and the attention ``(N, heads, T, T)``."""
        residual, branch = self.fork(x)
        hidden, *qkv = self.first(self.norm(branch)).split(self.parts, -1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in qkv)
        products = self.query_key(self.q_norm(q), self.k_norm(k))
        attn = self.attn_drop(self.softmax(products))
        mixed = self.attention_value(attn, v).transpose(1, 2).flatten(2)
        hidden = self.mlp(hidden)
        if self.last is not None:
            both = self.last(torch.cat([mixed, hidden], -1))
        else:
            both = self.sum(self.of_attn(mixed), self.of_mlp(hidden))
        return self.add(residual, self.after(both)), attn


class ExplicitThingsBlock(nn.Module):
    """timm's ``ParallelThingsBlock``: several attentions, then several MLPs, in parallel.

    The attentions of a block are one attention with all their heads.

    Args:
        block: timm's module, whose layers it shares.
    """

    def __init__(self, block: ParallelThingsBlock) -> None:
        super().__init__()
        self.attns, self.mlps = nn.ModuleList(), nn.ModuleList()
        self.attn_tails, self.mlp_tails = nn.ModuleList(), nn.ModuleList()
        self.attn_norms, self.mlp_norms = nn.ModuleList(), nn.ModuleList()
        for branch in block.attns:
            part: Any = branch
            if getattr(part.attn, 'gate', None) is not None:
                raise UserError(unknown(part.attn, 'attention'))
            self.attn_norms.append(part.norm)
            self.attns.append(ExplicitAttention(part.attn))
            self.attn_tails.append(nn.Sequential(part.ls, part.drop_path))
        for branch in block.ffns:
            part = branch
            self.mlp_norms.append(part.norm)
            self.mlps.append(explicit_mlp(part.mlp))
            self.mlp_tails.append(nn.Sequential(part.ls, part.drop_path))
        count = len(self.attns)
        self.forks = nn.ModuleList(Fork() for _ in range(2 * count))
        self.adds = nn.ModuleList(Add() for _ in range(2 * count))
        ours = isinstance(block, ThingsBlock)
        self.attn_drop = block.attn_drop if ours else nn.Identity()

    def forward(self, x: Tensor, rope: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Tokens ``(N, T, D)`` to new ones and the attention ``(N, all heads, T, T)``."""
        count = len(self.attns)
        x, parts = self._forked(x, 0)
        parts = [norm(p) for norm, p in zip(self.attn_norms, parts, strict=True)]
        layers: Any = list(self.attns)
        found = [layer.matrix(p) for layer, p in zip(layers, parts, strict=True)]
        join: Any = self.attn_drop
        joined = join(torch.cat([attn for attn, _ in found], 1))
        pieces = joined.split([attn.shape[1] for attn, _ in found], 1)
        for i, (layer, piece) in enumerate(zip(layers, pieces, strict=True)):
            out = self.attn_tails[i](layer.mix(piece, found[i][1], None))
            x = self.adds[i](x, out)
        x, parts = self._forked(x, count)
        for i, part in enumerate(parts):
            out = self.mlp_tails[i](self.mlps[i](self.mlp_norms[i](part)))
            x = self.adds[count + i](x, out)
        return x, joined

    def _forked(self, x: Tensor, first: int) -> tuple[Tensor, list[Tensor]]:
        """The tokens, and once more for each branch."""
        parts = []
        for i in range(len(self.attns)):
            x, part = self.forks[first + i](x)
            parts.append(part)
        return x, parts


class ThingsBlock(ParallelThingsBlock):
    """timm's block of several attentions side by side, whose attention can be captured.

    Its attentions are one attention with all their heads: :attr:`attn_drop` gives the
    matrices of all of them, ``(N, all heads, T, T)``, when :attr:`fused_attn` is False.

    Args:
        block: timm's block, whose layers become those of this one.
    """

    def __init__(self, block: ParallelThingsBlock) -> None:
        nn.Module.__init__(self)
        self.num_parallel = block.num_parallel
        self.attns, self.ffns = block.attns, block.ffns
        self.attn_drop, self.fused_attn = nn.Identity(), True
        self.train(block.training)

    def forward(
        self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """Tokens ``(N, T, D)`` to new ones; masks are arguments of timm's own form."""
        if self.fused_attn or attn_mask is not None or is_causal:
            return super().forward(x, attn_mask, is_causal)
        return ExplicitThingsBlock(self)(x)[0]


EXPLICIT: dict[type[nn.Module], type[nn.Module]] = {
    **dict.fromkeys((Block, ResPostBlock, EvaBlock, EvaBlockPostNorm), ExplicitBlock),
    ParallelScalingBlock: ExplicitScalingBlock,
    **dict.fromkeys((ParallelThingsBlock, ThingsBlock), ExplicitThingsBlock),
}
"""The form of each type of block with a module for every operation."""


def explicit_block(block: nn.Module) -> nn.Module:
    """A block with a module for every operation.

    Args:
        block: timm's module, whose layers it shares.

    Raises:
        UserError: The type of the block, or of a part of it, is not known.
    """
    if type(block) not in EXPLICIT:
        raise UserError(unknown(block, 'block'))
    return EXPLICIT[type(block)](block)
