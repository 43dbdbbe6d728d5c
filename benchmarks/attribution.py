"""What each attribution method costs, in forward passes of the same images.

Run from the project root: ``python benchmarks/attribution.py [--device cuda] [--json FILE]``.
One unit, f, is the time of one plain forward pass without gradients of the same images in
the same run; the methods take turns, and medians are given. The weights are random: they
do not change the cost. The bars are 4 images with 3 classes each. The original code computes one
image and one class at a time; its cost, known for some methods, is given in f of that image,
and the ratio is how much more work it is than ours. The peak is memory above that before the
call. With ``--against-cpu N`` the maps of the first N images are compared with those of the CPU,
in float32: the gap is relative to the largest value, and its bar is 1e-4.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from copy import deepcopy
from functools import partial

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

from wsss_plugins.classifiers import TimmClassifier
from wsss_plugins.registry import SEED_HEADS, build_as
from wsss_plugins.seeds import SeedHead

# Head, its arguments, and the bar: forward passes, and more for each class.
METHODS: dict[str, tuple[dict, tuple[float, float] | None]] = {
    'attention rollout': (dict(type='AttentionRollout'), (1.6, 0)),
    'raw attention': (dict(type='RawAttention'), None),
    'attention GradCAM': (dict(type='AttentionGradCAM'), (1.6, 0.4)),
    'generic relevance': (dict(type='GenericAttentionRelevance'), (1.6, 1.6)),
    'transformer attribution': (dict(type='TransformerAttribution'), (3, 5)),
    'partial LRP': (dict(type='PartialLRP'), (3, 5)),
    'full LRP': (dict(type='FullLRP'), (3, 5)),
    'LRP rollout': (dict(type='LRPRollout'), None),
    'AttnLRP': (dict(type='AttnLRP'), None),
    'input x gradient': (dict(type='InputXGradient'), None),
    'integrated gradients, 20 steps': (dict(type='IntegratedGradients'), None),
    'LeGrad': (dict(type='LeGrad'), None),
    'GETAM': (dict(type='GETAM'), None),
}


ORIGINALS = {
    'attention rollout': 1.3,
    'attention GradCAM': 3.8,
    'generic relevance': 5.7,
    'transformer attribution': 17.0,
}
"""What the original code costs for one class of one image, in f of that image on a CPU."""


def problem(args: argparse.Namespace) -> tuple[TimmClassifier, Tensor, Tensor]:
    """The classifier, images, and ``--classes`` class ids of each ``(K, N)``."""
    torch.manual_seed(0)
    place = args.device
    model = TimmClassifier(args.model, pretrained=False).eval().to(place)
    images = torch.randn(args.images, 3, args.size, args.size, device=place)
    chance = torch.rand(args.images, model.num_classes, device=place)
    return model, images, chance.argsort(1)[:, : args.classes].T


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description='Cost of attribution methods.')
    parser.add_argument('--model', default='vit_base_patch16_224')
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--images', type=int, default=4)
    parser.add_argument('--classes', type=int, default=3)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--only', nargs='*', choices=METHODS, metavar='METHOD')
    parser.add_argument('--against-cpu', type=int, metavar='N', help='compare N images')
    args = measured_args(parser)
    without_tf32()
    about = print_about(args)
    model, images, classes = problem(args)
    chosen = {k: v for k, v in METHODS.items() if not args.only or k in args.only}
    heads = {k: build_as(SEED_HEADS, cfg, SeedHead) for k, (cfg, _) in chosen.items()}

    @torch.no_grad()
    def forward() -> Tensor:
        return model.class_logits(model.backbone(images))

    jobs: dict[str, Callable[[], object]] = {
        name: partial(head.maps_of, model, images, classes)
        for name, head in heads.items()
    }
    times = medians({'forward': forward, **jobs}, args.repeats, args.device)
    unit = times.pop('forward')
    print(f'f {unit:.4f} s')
    rows = []
    for name, spent in times.items():
        cost, bar, theirs = spent / unit, chosen[name][1], ORIGINALS.get(name)
        row = dict(
            method=name,
            seconds=round(spent, 3),
            cost=round(cost, 2),
            bar=round(bar[0] + bar[1] * args.classes, 2) if bar else None,
            original=theirs and round(theirs * args.classes, 1),
            ratio=theirs and round(theirs * args.classes / cost, 1),
            peak_mb=round(peak_megabytes(jobs[name], args.device)),
        )
        if args.against_cpu:
            gap = gap_to_cpu(heads[name], model, images, classes, args.against_cpu)
            row['gap'] = f'{gap:.1e}'
        rows.append(row)
    print_table(rows)
    save_report(args, about=about, f_seconds=unit, rows=rows)


def gap_to_cpu(
    head: SeedHead, model: TimmClassifier, images: Tensor, classes: Tensor, count: int
) -> float:
    """Largest relative difference to the maps that the CPU computes."""
    first, ids = images[:count], classes[:, :count]
    found = head.maps_of(model, first, ids)
    return largest_gap(
        found, head.maps_of(deepcopy(model).cpu(), first.cpu(), ids.cpu())
    )


if __name__ == '__main__':
    main()
