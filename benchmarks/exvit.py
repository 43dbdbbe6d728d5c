"""Time and memory of E-MHA: its plain and its fast path, and timm's softmax attention.

Run from the project root: ``python benchmarks/exvit.py [--tokens 197 785 3137] [--device cuda]``.
One layer and the whole encoder (DeiT-S by default) are measured, a forward pass without
gradients and a training step (forward and backward). The three take turns, and medians
are given. Peak memory is what was needed above what was there before; what would not fit
into memory is left out. The weights are random: they do not change the cost. With
``--against-cpu N`` the outputs of N images in float32 are compared with those of the CPU: the gap
is relative to the largest value, its bar is 1e-4.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from measuring import (
    free_megabytes,
    largest_gap,
    measured_args,
    medians,
    peak_megabytes,
    print_about,
    save_report,
    without_tf32,
)
from torch import Tensor, nn

from wsss_plugins.backbones import EMHA, ExViT, TimmViT, emha

PARTS = ('layer', 'encoder')
PRECISIONS = ('float32', 'bfloat16', 'float16')


def layers(args: argparse.Namespace) -> dict[str, nn.Module]:
    """One attention layer of each kind."""
    softmax = TimmViT(args.model, depth=1).vit.blocks[0].attn
    new = {
        kind: EMHA(softmax.qkv.in_features, softmax.num_heads, args.norm)
        for kind in ('plain', 'fast')
    }
    new['plain'].fused_attn = False
    return {**new, 'softmax': softmax}


def encoders(args: argparse.Namespace, size: int) -> dict[str, nn.Module]:
    """The whole encoder with each kind of attention."""
    common = dict(name=args.model, depth=args.depth, img_size=size)
    own = dict(norm=args.norm, fuse_blocks=min(3, args.depth))
    plain, fast = (ExViT(**own, **common) for _ in range(2))
    for block in plain.vit.blocks:
        block.attn.fused_attn = False
    return {'plain': plain, 'fast': fast, 'softmax': TimmViT(**common)}


def train_step(model: nn.Module, inputs: Tensor, amp: str) -> Tensor:
    """Forward and backward; the gradients stay."""
    model.zero_grad()
    with autocast(inputs, amp):
        output = model(inputs)
    if not isinstance(output, Tensor):
        output = output.patch
    output.float().square().mean().backward()
    return output


@torch.no_grad()
def infer(model: nn.Module, inputs: Tensor, amp: str) -> object:
    """Forward without gradients."""
    with autocast(inputs, amp):
        return model(inputs)


def autocast(inputs: Tensor, amp: str) -> torch.autocast:
    """The precision of a pass."""
    kind = getattr(torch, amp)
    return torch.autocast(inputs.device.type, dtype=kind, enabled=amp != 'float32')


def gap_to_cpu(model: nn.Module, inputs: Tensor) -> float:
    """Largest relative difference to what the CPU computes, in float32."""
    found: Any = infer(model, inputs, 'float32')
    there: Any = infer(deepcopy(model).cpu(), inputs.cpu(), 'float32')
    if not isinstance(found, Tensor):
        found, there = found.patch, there.patch
    return largest_gap(found, there)


def measure(
    args: argparse.Namespace, jobs: dict[str, Callable[[], object]]
) -> dict[str, tuple[float, float]]:
    """Of each job median seconds and peak megabytes; they take turns after a warm-up."""
    spent = medians(jobs, args.repeats, args.device)
    return {
        kind: (spent[kind], peak_megabytes(job, args.device))
        for kind, job in jobs.items()
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description='Cost of E-MHA.')
    parser.add_argument('--model', default='deit_small_patch16_224')
    parser.add_argument('--depth', type=int, default=12, help='blocks of the encoder')
    parser.add_argument('--norm', default='key', choices=emha.NORMS)
    parser.add_argument('--tokens', type=int, nargs='+', default=[197, 785, 3137])
    parser.add_argument('--images', type=int, default=1)
    parser.add_argument('--parts', nargs='+', default=PARTS, choices=PARTS)
    parser.add_argument('--amp', default='float32', choices=PRECISIONS)
    parser.add_argument('--against-cpu', type=int, metavar='N', help='compare N images')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument(
        '--always-fast', action='store_true', help='also where it loses'
    )
    args = measured_args(parser)
    torch.manual_seed(0)
    without_tf32()
    if args.always_fast:
        emha.FAST_FROM = 0
    rows = []
    for tokens in args.tokens:
        side = math.isqrt(tokens - 1)
        if side**2 + 1 != tokens:
            parser.error(
                f'--tokens {tokens}: give a square number and one, such as 197'
            )
        for part in args.parts:
            rows += measured(args, part, tokens, 16 * side)
    report(args, rows)


def measured(args: argparse.Namespace, part: str, tokens: int, size: int) -> list[dict]:
    """The rows of a layer or an encoder at one number of tokens."""
    if part == 'layer':
        models = layers(args)
        softmax: Any = models['softmax']
        shape: tuple[int, ...] = (tokens, softmax.qkv.in_features)
        heads, depth = softmax.num_heads, 1
    else:
        models = encoders(args, size)
        heads, depth = models['softmax'].vit.blocks[0].attn.num_heads, args.depth
        shape = (3, size, size)
    inputs = torch.randn(args.images, *shape, device=args.device)
    matrix = args.images * heads * tokens**2 * 4 / 1e6  # float32
    rows = []
    for work, run, held in (
        ('inference', infer, 4),
        ('training', train_step, 4 * depth),
    ):
        jobs = {
            kind: partial(run, model.to(args.device), inputs, args.amp)
            for kind, model in models.items()
            if kind != 'plain' or held * matrix < 0.8 * free_megabytes(args.device)
        }
        for kind, (spent, peak) in measure(args, jobs).items():
            row = dict(part=part, tokens=tokens, work=work, attention=kind)
            figures = dict(ms=round(1e3 * spent, 2), peak_mb=round(peak, 1))
            if args.against_cpu and work == 'inference' and kind == 'fast':
                figures['gap'] = gap_to_cpu(models[kind], inputs[: args.against_cpu])
            rows.append(row | figures)
    return rows


def report(args: argparse.Namespace, rows: list[dict]) -> None:
    """Prints the table and stores it."""
    about = print_about(args)
    print()
    kinds = ('plain', 'fast', 'softmax')
    titles = [f'{k} ms' for k in kinds] + [f'{k} MB' for k in kinds]
    print('| part | tokens | work | ' + ' | '.join(titles) + ' | plain / fast | gap |')
    print('|---|---|---|' + '---:|' * 8)
    for key in dict.fromkeys((r['part'], r['tokens'], r['work']) for r in rows):
        of = {
            r['attention']: r
            for r in rows
            if (r['part'], r['tokens'], r['work']) == key
        }
        cells = [
            f'{of[k][column]:.{digits}f}' if k in of else '-'
            for column, digits in (('ms', 1), ('peak_mb', 0))
            for k in kinds
        ]
        ratio = f'{of["plain"]["ms"] / of["fast"]["ms"]:.2f}' if 'plain' in of else '-'
        gap = f'{of["fast"]["gap"]:.1e}' if 'gap' in of['fast'] else '-'
        print('| ' + ' | '.join([*map(str, key), *cells, ratio, gap]) + ' |')
    save_report(args, about=about, rows=rows)


if __name__ == '__main__':
    main()
