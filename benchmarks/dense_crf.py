"""Seconds and memory of the dense CRF, beside pydensecrf.

Run from the project root: ``python benchmarks/dense_crf.py [--threads N] [--device cuda]``.
PSA settings, 10 iterations, 500x375. When pydensecrf can be imported, it is measured in
turn with ours, and medians are compared; it builds both lattices anew and uses one core.
Otherwise its published CPU-seconds count (pydensecrf 1.0 on a 2-core Xeon virtual
machine, those for 3 labels measured with 2). Bars: as fast for 3 labels, 1.5 times for
21, twice for 8 images at once, and 20 times on a GPU, the way there and back included. The gap
is the largest difference of marginals to pydensecrf, or on a GPU to those of the CPU for the
first image; the peak is memory above the input.

Threads of one task wait for each other. They sleep meanwhile (OMP_WAIT_POLICY), since
threads that spin take the cores from those they wait for once other jobs run too; even
so, on a busy machine compare the CPU seconds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # before torch starts its threads

import numpy as np
import torch
from measuring import (
    measured_args,
    peak_megabytes,
    print_about,
    print_table,
    save_report,
    seconds,
)
from torch import Tensor

from wsss_plugins.refiners import PRESETS
from wsss_plugins.refiners.dense_crf import dense_crf, unary_from_scores

try:
    import pydensecrf.densecrf as pydensecrf
except ImportError:
    pydensecrf = None

SIZE = (375, 500)
PSA = PRESETS['psa']
PUBLISHED = {3: 0.264, 21: 0.674}
BARS = {(3, 1): 1.0, (21, 1): 1.5, (3, 8): 2.0}
GPU_BAR = 20
Problem = tuple[Tensor, Tensor]
Times = dict[str, list[tuple[float, float]]]


def problem(labels: int, images: int) -> Problem:
    """Smooth coloured images ``(B, 3, H, W)`` with noise, and unary energies."""
    rng = torch.Generator().manual_seed(0)

    def smooth(channels: int, cells: int) -> Tensor:
        coarse = torch.rand(images, channels, cells, cells, generator=rng)
        return torch.nn.functional.interpolate(coarse, SIZE, mode='bicubic')

    noise = 6 * torch.randn(images, 3, *SIZE, generator=rng)
    image = (255 * smooth(3, 8) + noise).clamp(0, 255).to(torch.uint8)
    return image, unary_from_scores((4 * smooth(labels, 5)).softmax(1))


def ours(device: str, image: Tensor, unary: Tensor) -> Tensor:
    """Marginals ``(B, L, H, W)`` by this package, all images in one call."""
    image, unary = image.to(device), unary.to(device)
    return dense_crf(image, unary, PSA.gaussian, PSA.bilateral, PSA.iterations).cpu()


def theirs(images: Tensor, unary: Tensor) -> Tensor:
    """Marginals ``(B, L, H, W)`` by pydensecrf, one image after the other."""
    _, labels, height, width = unary.shape
    marginals = []
    for image, energy in zip(images, unary, strict=True):
        crf = pydensecrf.DenseCRF2D(width, height, labels)
        crf.setUnaryEnergy(np.ascontiguousarray(energy.flatten(1).numpy()))
        crf.addPairwiseGaussian(sxy=PSA.gaussian[0], compat=PSA.gaussian[1])
        crf.addPairwiseBilateral(
            sxy=PSA.bilateral[0],
            srgb=PSA.bilateral[1],
            rgbim=np.ascontiguousarray(image.permute(1, 2, 0).numpy()),
            compat=PSA.bilateral[2],
        )
        marginals.append(np.array(crf.inference(PSA.iterations)))
    return torch.from_numpy(np.stack(marginals)).view(unary.shape)


def measure(
    methods: Mapping[str, Callable[..., Tensor]], args: argparse.Namespace
) -> dict[str, tuple[float, float]]:
    """Median wall and CPU seconds of each method, taking turns."""
    times: Times = {name: [] for name in methods}
    for _ in range(args.repeats + 1):
        for name, method in methods.items():
            cpu = time.process_time()
            wall = seconds(method, args.device)
            times[name].append((wall, time.process_time() - cpu))
    # The first round was a warm-up.
    return {
        name: tuple(map(statistics.median, zip(*rounds[1:], strict=True)))
        for name, rounds in times.items()
    }


def measure_row(labels: int, images: int, args: argparse.Namespace) -> dict:
    """Everything about one problem, as numbers."""
    case = problem(labels, images)
    methods = dict(ours=partial(ours, args.device, *case))
    if pydensecrf:
        methods['theirs'] = partial(theirs, *case)
    times = measure(methods, args)
    (wall, cpu), published = times['ours'], PUBLISHED[labels] * images
    other = times.get('theirs')
    bar = BARS.get((labels, images)) if args.device == 'cpu' else GPU_BAR
    faster = (other or (published, published))[0] / wall
    peaks = {k: peak_megabytes(work, args.device) for k, work in methods.items()}
    return dict(
        labels=labels,
        images=images,
        seconds=round(wall, 3),
        cpu_seconds=round(cpu, 3),
        theirs=other and round(other[0], 3),
        theirs_cpu=other and round(other[1], 3),
        faster=round(faster, 2),
        less_cpu=round((other or (published, published))[1] / cpu, 2),
        peak_mb=round(peaks['ours']),
        theirs_mb=round(peaks['theirs']) if other else None,
        gap=gap(case, args.device),
        bar=bar,
        met=None if bar is None else faster >= bar,
    )


def gap(case: Problem, device: str) -> str | None:
    """Largest difference to pydensecrf, or on a GPU to the CPU, of the first image."""
    first = tuple(part[:1] for part in case)
    if pydensecrf:
        other = theirs(*first)
    elif device == 'cuda':
        other = ours('cpu', *first)
    else:
        return None
    return f'{(ours(device, *first) - other).abs().max().item():.1e}'


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description='Speed of the dense CRF.')
    parser.add_argument('--repeats', type=int, default=7)
    parser.add_argument('--labels', type=int, nargs='+', choices=PUBLISHED)
    parser.add_argument('--images', type=int, nargs='+', help='of one call')
    args = measured_args(parser)
    about = print_about(args)
    print('pydensecrf is', 'measured' if pydensecrf else 'not installed')
    problems = list(BARS)
    if args.labels or args.images:
        problems = [
            (k, n) for n in args.images or [1] for k in args.labels or PUBLISHED
        ]
    rows = [measure_row(labels, images, args) for labels, images in problems]
    print_table(rows)
    save_report(args, about=about, rows=rows)


if __name__ == '__main__':
    main()
