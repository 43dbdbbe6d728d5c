"""What ACR costs: its maps in forward passes, and the table of memory and speed (table 9).

Run from the project root: ``python benchmarks/acr.py [--parts maps table] [--device cuda]``.

maps   One unit, f, is one plain forward pass without gradients of the same images in the
       same run, attention fused. The seed head takes turns with it, medians are given,
       beside the bar of (1.6 + 0.6 K) f for K classes of each image and one view. The
       released code takes 4.3 f for one class and 9.2 f for three; the ratio is how much
       more that is. With ``--against-cpu N`` the maps of N images are compared with those
       of the CPU, in float32: the gap is relative to the largest value, its bar is 1e-4.
table  Training: peak memory of two steps of a fresh process (forward of both views,
       backward, SGD with momentum), batch 1, above that of the process with its libraries:
       weights, gradients, momentum and activations. The authors' figures are of an
       RTX 2080 Ti, whose driver and libraries they may count. Test: images a second of the
       maps of one class, two views (the image and its mirror), batch 1.

The weights are random: they do not change the cost.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any, NamedTuple

import torch
from measuring import (
    largest_gap,
    measured_args,
    medians,
    peak_megabytes,
    print_about,
    print_table,
    save_report,
    without_tf32,
)
from torch import Tensor

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import UserError
from wsss_plugins.registry import MODELS, SEED_HEADS, build_as
from wsss_plugins.seeds import ACRGradientMap, MultiScaleFlip, SeedHead

CLASSES = 20
RELEASED = dict(final_norm=False, pos_embed='bilinear')
HYBRID = dict(
    type='TimmViT', name='vit_base_r50_s16_384', std_eps=1e-5, img_size=384, **RELEASED
)
DEIT = dict(type='TimmViT', name='deit_small_patch16_224', **RELEASED)
MAPS = {
    'hybrid-B 384': (HYBRID, 384),
    'ViT-B 224': (dict(DEIT, name='vit_base_patch16_224'), 224),
    'DeiT-S 224': (DEIT, 224),
}
TOKEN = dict(type='TokenHead', num_classes=CLASSES, sources=('class',), shared=True)
PATCH = dict(type='TokenHead', num_classes=CLASSES, sources=('patch',))
MCT = dict(
    type='MultiClassTokenViT',
    name='deit_small_patch16_224',
    num_classes=CLASSES,
)
CNN = dict(type='CNNBackbone', net=dict(type='WideResNet38'))


class Row(NamedTuple):
    """A row of table 9: what is built, and what the authors measured."""

    size: int
    model: dict[str, Any]
    head: dict[str, Any]
    published: tuple[float | None, float | None] = (None, None)


def _acr(backbone: dict[str, Any], checkpoint: bool) -> dict[str, Any]:
    backbone = dict(backbone, checkpoint=checkpoint)
    return dict(type='ACRClassifier', backbone=backbone, head=TOKEN)


GRADIENT = dict(type='ACRGradientMap')
TABLE = {
    'PSA, ResNet38': Row(
        384,
        dict(type='WSSSClassifier', backbone=CNN, head=PATCH),
        dict(type='CAM'),
        (3082, 0.98),
    ),
    'MCTformer, DeiT-S': Row(
        224,
        dict(
            type='WSSSClassifier',
            backbone=MCT,
            head=dict(type='MCTHead', num_classes=CLASSES),
        ),
        dict(type='MCTformerMap'),
        (1500, 7.10),
    ),
    'ACR, DeiT-S': Row(224, _acr(DEIT, False), GRADIENT, (1580, 3.61)),
    'ACR, DeiT-S, checkpoint': Row(224, _acr(DEIT, True), GRADIENT),
    'ACR, hybrid-B': Row(384, _acr(HYBRID, False), GRADIENT, (5260, 2.33)),
    'ACR, hybrid-B, checkpoint': Row(384, _acr(HYBRID, True), GRADIENT),
}

AT_ONCE = {'MALLOC_MMAP_THRESHOLD_': '65536'}
"""Linux's C library then gives memory back as soon as it is free: the peak is of what is
in use, not of what is held in reserve."""

TINY = Row(
    32,
    _acr(
        dict(
            type='TimmViT',
            img_size=32,
            patch_size=8,
            embed_dim=24,
            depth=1,
            num_heads=3,
        ),
        True,
    ),
    GRADIENT,
)
"""Trained before anything is measured, so that every library is loaded."""


def labels_of(images: int, present: int, device: str) -> Tensor:
    """Labels ``(N, C)`` with ``present`` classes of each image."""
    labels = torch.zeros(images, CLASSES, device=device)
    labels[:, :present] = 1
    return labels


def build(cfg: dict[str, Any], device: str) -> WSSSClassifier:
    """A model with random weights."""
    torch.manual_seed(0)
    return build_as(MODELS, cfg, WSSSClassifier).to(device)


@torch.no_grad()
def forward(model: WSSSClassifier, images: Tensor) -> Tensor:
    """The unit: logits, nothing kept."""
    return model.class_logits(model.backbone(images))


RELEASED_COST = {1: 4.3, 3: 9.2}
"""What the released code takes for so many classes of an image, in f."""


def maps(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Multiples of f for each model, number of images and of classes."""
    rows = []
    for name in args.models:
        cfg, size = MAPS[name]
        whole = dict(type='WSSSClassifier', backbone=cfg, head=TOKEN)
        model = build(whole, args.device).eval()
        for count in args.images:
            images = torch.randn(count, 3, size, size, device=args.device)
            heads = {
                (k, spread): partial(
                    ACRGradientMap(-2, affinity=spread),
                    labels=labels_of(count, k, args.device),
                )
                for k in args.classes
                for spread in (True, False)
            }
            jobs: dict[str, Callable[[], object]] = {
                str(key): partial(head, model, images) for key, head in heads.items()
            }
            jobs['f'] = partial(forward, model, images)
            spent = medians(jobs, args.repeats, args.device)
            for key, head in heads.items():
                row = row_of(key, spent[str(key)], spent['f'])
                row = dict(model=name, images=count, **row)
                peak = peak_megabytes(jobs[str(key)], args.device)
                row['peak_mb'] = round(peak)
                if args.against_cpu:
                    row['gap'] = (
                        f'{gap_to_cpu(head, model, images, args.against_cpu):.1e}'
                    )
                rows.append(row)
    return rows


def row_of(key: tuple[int, bool], spent: float, unit: float) -> dict[str, Any]:
    """The figures of one seed head."""
    (classes, spread), cost = key, spent / unit
    theirs = RELEASED_COST.get(classes)
    return dict(
        classes=classes,
        affinity=spread,
        f_seconds=round(unit, 4),
        cost=round(cost, 2),
        bar=round(1.6 + 0.6 * classes, 2),
        released=theirs,
        ratio=theirs and round(theirs / cost, 1),
    )


def gap_to_cpu(
    head: partial[Tensor], model: WSSSClassifier, images: Tensor, count: int
) -> float:
    """Largest relative difference to the maps that the CPU computes."""
    labels = head.keywords['labels'][:count]
    found = head(model, images[:count], labels=labels)
    there = head(deepcopy(model).cpu(), images[:count].cpu(), labels=labels.cpu())
    return largest_gap(found, there)


def train_twice(row: Row, device: str) -> None:
    """Two steps of training; the second has momentum."""
    model = build(row.model, device).train()
    step = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    images = torch.randn(1, 3, row.size, row.size, device=device)
    for _ in range(2):
        losses = model.loss(images, labels_of(1, 1, device))
        sum(losses.values(), torch.zeros((), device=device)).backward()
        step.step()
        step.zero_grad()


def test_fps(row: Row, repeats: int, device: str) -> float:
    """Images a second: two views, one class, with the head of the row."""
    model = build(row.model, device).eval()
    run = MultiScaleFlip(build_as(SEED_HEADS, row.head, SeedHead), align_corners=True)
    images = torch.randn(1, 3, row.size, row.size, device=device)
    job = partial(run, model, images, labels_of(1, 1, device))
    return 1 / medians({'maps': job}, repeats, device)['maps']


def memory_in_new_process(name: str, args: argparse.Namespace) -> float:
    """Peak megabytes of training: a process of its own has no memory of earlier rows."""
    command = [sys.executable, __file__, '--memory-of', name, '--device', args.device]
    command += ['--threads', str(args.threads)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | AT_ONCE
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def table(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Memory and speed of each row, or why there are none."""
    rows = []
    for name in args.rows:
        row, reason = TABLE[name], ''
        memory = fps = None
        try:
            memory = round(memory_in_new_process(name, args))
            fps = round(test_fps(row, args.repeats, args.device), 2)
        except (UserError, subprocess.CalledProcessError) as error:
            reason = f'left out: {str(error).splitlines()[0]}'
        said, speed = row.published
        rows.append(
            dict(
                row=name,
                size=row.size,
                train_mb=memory,
                published_mb=said,
                test_fps=fps,
                published_fps=speed,
                note=reason,
            )
        )
    return rows


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description='Cost of ACR.')
    parser.add_argument(
        '--parts', nargs='+', default=['maps', 'table'], choices=['maps', 'table']
    )
    parser.add_argument('--models', nargs='+', default=list(MAPS)[:2], choices=MAPS)
    parser.add_argument('--rows', nargs='+', default=list(TABLE), choices=TABLE)
    parser.add_argument('--images', type=int, nargs='+', default=[1, 4])
    parser.add_argument('--classes', type=int, nargs='+', default=[1, 3])
    parser.add_argument('--against-cpu', type=int, metavar='N', help='compare N images')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--memory-of', choices=TABLE, help=argparse.SUPPRESS)
    args = measured_args(parser)
    without_tf32()
    if args.memory_of:
        train_twice(TINY, args.device)
        work = partial(train_twice, TABLE[args.memory_of], args.device)
        print(json.dumps(peak_megabytes(work, args.device)))
        return
    about = print_about(args)
    found = {part: dict(maps=maps, table=table)[part](args) for part in args.parts}
    for rows in found.values():
        print_table(rows)
    save_report(args, about=about, **found)


if __name__ == '__main__':
    main()
