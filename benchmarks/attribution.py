"""What each attribution method costs, in forward passes of the same images.

Run from the project root: ``python benchmarks/attribution.py [--json FILE]``.
One unit, f, is the time of one plain forward pass without gradients of the same images in
the same run; the methods take turns, and medians are given. The weights are random: they
do not change the cost. The bars are 4 images with 3 classes each.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from wsss_plugins.classifiers import TimmClassifier
from wsss_plugins.registry import SEED_HEADS, build_as
from wsss_plugins.seeds import SeedHead
from wsss_plugins.structures import save_json

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


def seconds(work: Callable[[], object]) -> float:
    """Wall seconds of one call, the accelerator's queue included."""
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(jobs: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each job; the jobs take turns, after one warm-up round."""
    rounds = [
        {name: seconds(job) for name, job in jobs.items()} for _ in range(repeats + 1)
    ]
    return {name: statistics.median(r[name] for r in rounds[1:]) for name in jobs}


def peak_memory(job: Callable[[], object]) -> float:
    """Highest memory during one call, in GB: of the GPU, or of the process."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        job()
        return torch.cuda.max_memory_allocated() / 1e9
    clear = Path('/proc/self/clear_refs')
    if not clear.exists():  # no Linux: the peak since the process began
        job()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9
    clear.write_text('5')  # resets the peak
    job()
    status = Path('/proc/self/status').read_text()
    return int(status.split('VmHWM:')[1].split()[0]) / 1e6


def problem(args: argparse.Namespace) -> tuple[TimmClassifier, Tensor, Tensor]:
    """The classifier, images, and ``--classes`` class ids of each ``(K, N)``."""
    torch.manual_seed(0)
    place = 'cuda' if torch.cuda.is_available() else 'cpu'
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
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--only', nargs='*', choices=METHODS, metavar='METHOD')
    parser.add_argument('--json', type=Path, help='where to store the figures')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model, images, classes = problem(args)
    chosen = {k: v for k, v in METHODS.items() if not args.only or k in args.only}
    heads = {k: build_as(SEED_HEADS, cfg, SeedHead) for k, (cfg, _) in chosen.items()}

    @torch.no_grad()
    def forward() -> Tensor:
        return model.class_logits(model.backbone(images))

    def job(head: SeedHead) -> Callable[[], object]:
        return lambda: head.maps_of(model, images, classes)

    jobs = {name: job(head) for name, head in heads.items()}
    times = measure({'forward': forward, **jobs}, args.repeats)
    unit = times.pop('forward')
    rows = []
    for name, spent in times.items():
        bar = chosen[name][1]
        rows.append(
            dict(
                method=name,
                seconds=round(spent, 3),
                cost=round(spent / unit, 2),
                bar=round(bar[0] + bar[1] * args.classes, 2) if bar else None,
                peak_gb=round(peak_memory(jobs[name]), 2),
            )
        )
    report(args, unit, rows)


def report(args: argparse.Namespace, unit: float, rows: list[dict]) -> None:
    """Prints the table and stores it."""
    place = torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU'
    about = dict(
        date=str(datetime.date.today()),
        torch=torch.__version__,
        device=place,
        machine=platform.machine(),
        load=round(os.getloadavg()[0], 1),
        f_seconds=round(unit, 4),
        **{k: v for k, v in vars(args).items() if k not in ('json', 'only')},
    )
    print('  '.join(f'{key} {value}' for key, value in about.items()))
    print(
        f'{"method":<32} {"seconds":>8} {"cost / f":>8} {"bar / f":>8} {"peak GB":>8}'
    )
    for row in rows:
        bar = f'{row["bar"]:8.1f}' if row['bar'] else f'{"-":>8}'
        print(
            f'{row["method"]:<32} {row["seconds"]:8.3f} {row["cost"]:8.2f} {bar} '
            f'{row["peak_gb"]:8.2f}'
        )
    if args.json:
        save_json(args.json, dict(about=about, rows=rows))


if __name__ == '__main__':
    main()
