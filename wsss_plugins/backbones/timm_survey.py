"""Tries models of timm at a tiny size: what can this package do with each of them?

For each name a model of two narrow blocks is built without weights, all its small
parameters are drawn anew, and these laws are checked in float64:

- tokens: :class:`TimmViT` gives the tokens of timm's own model;
- attention: with the captured attention in place of fused attention nothing changes;
- gradients: those by the image are the same with and without the capture, and every
  captured matrix has one;
- explicit form: the form with a module for every operation gives the same tokens and the
  same attention;
- relevance: the rules of Chefer et al., 2021, conserve it from one channel of the output
  to the tokens before the first block;
- pooling: the attention pooling of timm's own head and its explicit form give the same,
  and the same rules conserve relevance from one channel to the tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import timm
import torch
from timm.models import is_model_in_modules
from torch import Tensor

from wsss_plugins.backbones.base import Tokens
from wsss_plugins.backbones.capture import capture
from wsss_plugins.backbones.explicit_pooling import ExplicitPooling
from wsss_plugins.backbones.timm_kinds import MODULES
from wsss_plugins.backbones.timm_vit import TimmViT
from wsss_plugins.errors import UserError
from wsss_plugins.lrp import composite

LIKE = (
    *MODULES,
    *('beit', 'cait', 'convit', 'deepseek_vit', 'gemma4_vit', 'naflexvit'),
    *('qwen3_vit', 'vision_transformer_relpos', 'vision_transformer_sam'),
)
"""Modules of timm whose models are a column of transformer blocks on one grid of patches."""

NARROW: dict[str, Any] = dict(depth=2, img_size=(64, 96), embed_dim=32, num_heads=2)
WIDE: dict[str, Any] = dict(depth=2, img_size=(32, 48))

EXACT = 1e-9
CONSERVED = 1e-5


@dataclass
class Finding:
    """What was found about a model of timm.

    Attributes:
        name: The model.
        kind: Its parts in words, such as 'class token, RoPE, SwiGLU'.
        refused: Why :class:`TimmViT` cannot be built around it; empty if it can.
        class_token: Whether it has a class token.
        pooling: How timm's own head pools the tokens, 'mean' or 'attention'; empty where
            it reads the class token or pools in another way.
        attention: Why its attention cannot be read; empty if it can.
        relevance: Why relevance cannot be propagated to the tokens; empty if it can.
        pixels: Why relevance cannot be propagated to the pixels; empty if it can.
        broken: The laws that do not hold; empty for every model that is not refused.
    """

    name: str
    kind: str = ''
    refused: str = ''
    class_token: bool = True
    pooling: str = ''
    attention: str = ''
    relevance: str = ''
    pixels: str = ''
    broken: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """'all', 'some', 'backbone', 'refused', or 'broken' where a law does not hold."""
        if self.refused:
            return 'refused'
        if self.broken:
            return 'broken'
        if self.attention:
            return 'backbone'
        limits = self.relevance or self.pixels or not self.class_token
        return 'some' if limits else 'all'


def names() -> list[str]:
    """The models of timm that are tried, in the order of the alphabet."""
    return [n for n in timm.list_models() if is_model_in_modules(n, LIKE)]


def tiny(name: str) -> TimmViT:
    """A small :class:`TimmViT` of a name of timm, its small parameters drawn anew.

    Args:
        name: The model. A model that fixes its width or the keys of its heads is built as
            narrow as it allows.

    Raises:
        UserError: The model is refused, or cannot be built at a small size.
    """
    eva = is_model_in_modules(name, ('eva',))
    for size in (NARROW, {**NARROW, 'num_kv_heads': 1} if eva else WIDE):
        try:
            return redraw(TimmViT(name, **size)).double().eval()
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            reason = f'{type(error).__name__}: {error}'
    raise UserError(f"timm's '{name}' cannot be built at a small size ({reason})")


def redraw(backbone: TimmViT) -> TimmViT:
    """Draws tokens, biases, norms and layer scales anew, so that each has an effect.

    Weights that begin near 0, such as those of a gate, are drawn anew too.
    """
    for key, parameter in backbone.named_parameters():
        with torch.no_grad():
            if parameter.ndim < 2:
                noise = torch.rand_like(parameter)
                gain = 'weight' in key or 'gamma' in key
                parameter.copy_(noise + 0.5 if gain else noise - 0.5)
            elif key.endswith('_token') or key.endswith('pos_embed'):
                parameter.normal_(std=0.5)
            elif parameter.flatten(1).std(1).min() < 1e-3:  # a part of its rows
                parameter.normal_(std=0.1)
    return backbone


def survey(name: str) -> Finding:
    """Tries one model of timm.

    Args:
        name: The model.

    Returns:
        What was found; a model that is refused, or that fails, is a finding too.
    """
    torch.manual_seed(0)
    found = Finding(name)
    try:
        backbone = tiny(name)
    except UserError as error:
        found.refused = str(error)
        return found
    found.kind = kind_of(backbone)
    found.class_token = backbone.has_class_token
    pooling: str = backbone.vit.global_pool
    found.pooling = {'avg': 'mean', 'map': 'attention'}.get(pooling, '')
    found.attention = backbone.without_attention
    height, width = (side * backbone.stride for side in _trained_grid(backbone))
    images = torch.randn(2, 3, height, width, dtype=torch.float64)
    for law, check in LAWS.items():
        try:
            if not check(backbone, images, found):
                found.broken.append(law)
        except Exception as error:  # whatever a model of timm may raise is a finding
            found.broken.append(f'{law} ({type(error).__name__}: {error})')
    return found


def _trained_grid(backbone: TimmViT) -> tuple[int, int]:
    rows, columns = backbone.vit.patch_embed.grid_size
    return rows, columns


def _close(one: Tensor, two: Tensor) -> bool:
    return torch.allclose(one, two, rtol=EXACT, atol=EXACT)


def _sequence(tokens: Tokens) -> Tensor:
    """Tokens as timm has them, ``(N, P + n, D)``."""
    return torch.cat([tokens.prefix, tokens.patch.flatten(2).transpose(1, 2)], 1)


def _tokens(backbone: TimmViT, images: Tensor, found: Finding) -> bool:
    """Tokens are those of timm's own model."""
    vit = backbone.vit
    with torch.no_grad():
        ours = _sequence(backbone(images))
        try:
            vit.patch_embed.flatten = not vit.dynamic_img_size  # as timm left it
            return _close(ours, vit.forward_features(images))
        finally:
            vit.patch_embed.flatten = True


def _attention(backbone: TimmViT, images: Tensor, found: Finding) -> bool:
    """Every row of the captured attention sums to 1, and the tokens stay the same."""
    if found.attention:
        return not backbone.attention_modules()
    with torch.no_grad(), capture(backbone, images) as trace:
        rows = torch.stack([attn.sum(-1) for attn in trace.attn])
        same = _close(_sequence(trace.tokens), _sequence(backbone(images)))
        positive = min(float(attn.min()) for attn in trace.attn) >= 0
        return same and positive and _close(rows, torch.ones_like(rows))


def _score(tokens: Tokens) -> Tensor:
    """A number that every token has an effect on."""
    sequence = _sequence(tokens)
    return (
        sequence * torch.linspace(-1, 1, sequence[0].numel()).view_as(sequence[0])
    ).sum()


def _gradients(backbone: TimmViT, images: Tensor, found: Finding) -> bool:
    """Gradients by the image do not depend on the capture; attention has its own."""
    images = images.clone().requires_grad_()
    (plain,) = torch.autograd.grad(_score(backbone(images)), images)
    with capture(
        backbone, images, gradients=True, attention=not found.attention
    ) as trace:
        score = _score(trace.tokens)
        (seen,) = torch.autograd.grad(score, images, retain_graph=True)
        by_attention = torch.autograd.grad(score, trace.attn) if trace.attn else ()
    return _close(plain, seen) and all(float(g.abs().sum()) > 0 for g in by_attention)


def _explicit(backbone: TimmViT, images: Tensor, found: Finding) -> bool:
    """The explicit form gives the same tokens and attention."""
    for start, reason in ((0, 'relevance'), (None, 'pixels')):
        try:
            with torch.no_grad():
                tokens, attn = backbone.explicit(start)(images)
        except UserError as error:
            setattr(found, reason, str(error))
            continue
        with torch.no_grad(), capture(backbone, images) as trace:
            pairs = zip(attn, trace.attn, strict=True)
            same = all(_close(*pair) for pair in pairs)
            if not same or not _close(_sequence(tokens), _sequence(trace.tokens)):
                return False
    return True


def _relevance(backbone: TimmViT, images: Tensor, found: Finding) -> bool:
    """Relevance is conserved from one channel of the output to the first block."""
    if found.relevance:
        return True
    rules, inputs = composite('chefer'), []
    view: Any = backbone.explicit(0)
    view.blocks[0].register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    with rules(view):
        tokens, _ = view(images)
    read = (
        tokens.prefix[:, 0] if found.class_token else tokens.patch.flatten(2).mean(-1)
    )
    return _conserved(read, inputs)


def _pooling(backbone: TimmViT, images: Tensor, found: Finding) -> bool:
    """Attention pooling: its explicit form gives the same, and conserves relevance."""
    pool = backbone.vit.attn_pool
    if pool is None:
        return True
    with torch.no_grad():
        tokens = _sequence(backbone(images))
    form, rules = ExplicitPooling(pool), composite('chefer')
    tokens.requires_grad_()
    with rules(form):
        pooled, attn = form(tokens)
    rows = attn.sum(-1)
    same = _close(pooled, pool(tokens)) and _close(rows, torch.ones_like(rows))
    return same and _conserved(pooled, [tokens])


def _conserved(read: Tensor, inputs: list[Tensor]) -> bool:
    """Whether the relevance 1 of one channel of ``(N, D)`` arrives at the tokens."""
    (relevance,) = torch.autograd.grad(read[:, 5].sum(), inputs)
    sums = relevance.sum((1, 2))
    return torch.allclose(sums, torch.ones_like(sums), rtol=0, atol=CONSERVED)


LAWS: dict[str, Callable[[TimmViT, Tensor, Finding], bool]] = {
    'tokens': _tokens,
    'attention': _attention,
    'gradients': _gradients,
    'explicit form': _explicit,
    'relevance': _relevance,
    'pooling': _pooling,
}
"""The checks by name, in the order in which they run."""


def kind_of(backbone: TimmViT) -> str:
    """The parts of a model in words.

    Args:
        backbone: Any model that is not refused.

    Returns:
        Such as 'class token, patch 16, RoPE, SwiGLU, unfused qkv'.
    """
    return ', '.join(_words(backbone.vit, backbone))


def _words(vit: Any, backbone: TimmViT) -> Iterator[str]:
    registers = 0 if vit.reg_token is None else vit.reg_token.shape[1]
    if backbone.has_class_token:
        yield 'class token'
    if getattr(vit, 'dist_token', None) is not None:
        yield 'distillation token'
    if registers:
        yield f'{registers} register{"s" * (registers > 1)}'
    if not backbone.num_prefix:
        yield 'no prefix token'
    stem = type(vit.patch_embed).__name__
    yield (
        f'patch {backbone.stride}'
        if stem == 'PatchEmbed'
        else f'CNN of stride {backbone.stride}'
    )
    if vit.attn_pool is not None:
        yield 'attention pooling'
    elif vit.global_pool != 'token':
        yield f'{vit.global_pool or "no"} pooling'
    block = vit.blocks[0]
    if type(block).__name__ not in ('Block', 'EvaBlock'):
        yield type(block).__name__.replace('ThingsBlock', 'ParallelThingsBlock')
    attn = getattr(block, 'attn', block)
    yield from _attention_words(vit, attn)
    yield from _mlp_words(block)


def _attention_words(vit: Any, attn: Any) -> Iterator[str]:
    if 'Diff' in type(attn).__name__:
        yield 'differential attention'
    if getattr(vit, 'rope', None) is not None:
        yield f'RoPE ({type(vit.rope).__name__.removeprefix("RotaryEmbedding")})'
    if hasattr(attn, 'q_norm') and not isinstance(attn.q_norm, torch.nn.Identity):
        yield 'QK-norm'
    if getattr(attn, 'qkv', 0) is None:
        yield 'unfused qkv'
    if getattr(attn, 'num_kv_groups', 1) > 1:
        yield 'shared keys'


def _mlp_words(block: Any) -> Iterator[str]:
    mlp = type(getattr(block, 'mlp', None)).__name__
    if mlp not in ('Mlp', 'NoneType'):
        yield mlp
    norms = {type(m).__name__ for m in block.modules() if m is not block}
    norms = {name for name in norms if 'Norm' in name}
    yield from sorted(norms - {'LayerNorm'})
    scaled = any(type(m).__name__ == 'LayerScale' for m in block.modules())
    if scaled or getattr(block, 'gamma_1', None) is not None:
        yield 'layer scale'
