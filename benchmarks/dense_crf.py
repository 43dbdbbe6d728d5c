"""Seconds per image of the dense CRF, beside pydensecrf.

Run from the project root: ``python benchmarks/dense_crf.py [--threads N]``.
The published seconds are CPU-seconds of pydensecrf 1.0 (PSA settings, 10 iterations,
500x375) on a 2-core Xeon virtual machine; when pydensecrf can be imported, it is
measured here too, in turn with ours.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import time
from collections.abc import Callable

import numpy as np
import torch

from wsss_plugins.refiners.dense_crf import PRESETS, dense_crf, unary_from_scores

try:
    import pydensecrf.densecrf as pydensecrf
except ImportError:
    pydensecrf = None

PUBLISHED = {(375, 500, 2): 0.264, (375, 500, 5): 0.366, (375, 500, 21): 0.674}
PSA = PRESETS['psa']
Problem = tuple[torch.Tensor, torch.Tensor, float]


def problem(height: int, width: int, labels: int) -> Problem:
    """A smooth coloured image with noise, unary energies, and the scale of widths."""
    rng = torch.Generator().manual_seed(0)
    size = (height, width)

    def smooth(channels: int, cells: int) -> torch.Tensor:
        coarse = torch.rand(1, channels, cells, cells, generator=rng)
        return torch.nn.functional.interpolate(coarse, size, mode='bicubic')[0]

    noise = 6 * torch.randn(3, *size, generator=rng)
    image = (255 * smooth(3, 8) + noise).clamp(0, 255).to(torch.uint8)
    unary = unary_from_scores((4 * smooth(labels, 5)).softmax(0))
    return image, unary, max(size) / 500


def ours(image: torch.Tensor, unary: torch.Tensor, scale: float) -> np.ndarray:
    """Marginals ``(L, H, W)`` by this package."""
    gaussian = (PSA.gaussian[0] * scale, PSA.gaussian[1])
    bilateral = (PSA.bilateral[0] * scale, *PSA.bilateral[1:])
    return dense_crf(image, unary, gaussian, bilateral, PSA.iterations).numpy()


def theirs(image: torch.Tensor, unary: torch.Tensor, scale: float) -> np.ndarray:
    """Marginals ``(L, H, W)`` by pydensecrf."""
    labels, height, width = unary.shape
    crf = pydensecrf.DenseCRF2D(width, height, labels)
    crf.setUnaryEnergy(np.ascontiguousarray(unary.flatten(1).numpy()))
    crf.addPairwiseGaussian(sxy=PSA.gaussian[0] * scale, compat=PSA.gaussian[1])
    crf.addPairwiseBilateral(
        sxy=PSA.bilateral[0] * scale,
        srgb=PSA.bilateral[1],
        rgbim=np.ascontiguousarray(image.permute(1, 2, 0).numpy()),
        compat=PSA.bilateral[2],
    )
    return np.array(crf.inference(PSA.iterations)).reshape(unary.shape)


def measure(
    methods: list[Callable[..., np.ndarray]], case: Problem, repeats: int
) -> list[tuple[float, float]]:
    """Least wall seconds and least CPU seconds of each method, taking turns."""
    best = [(float('inf'), float('inf'))] * len(methods)
    for _ in range(repeats + 1):  # the first is a warm-up that the minimum drops
        for i, method in enumerate(methods):
            wall, cpu = time.perf_counter(), time.process_time()
            method(*case)
            spent = time.perf_counter() - wall, time.process_time() - cpu
            best[i] = min(best[i][0], spent[0]), min(best[i][1], spent[1])
    return best


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description='Speed of the dense CRF.')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--repeats', type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(
        f'{datetime.date.today()}  torch {torch.__version__}  numpy {np.__version__}  '
        f'Python {platform.python_version()}  {platform.machine()}  '
        f'threads {args.threads}  10 iterations, PSA settings, best of {args.repeats}'
    )
    print('pydensecrf is', 'measured' if pydensecrf else 'not installed')
    print(
        f'{"size":>8} {"labels":>6} {"wall s":>8} {"CPU s":>8} '
        f'{"published":>9} {"pydensecrf":>10} {"difference":>10}'
    )
    for height, width in ((375, 500), (64, 64)):
        for labels in (2, 5, 21):
            case = problem(height, width, labels)
            methods = [ours, theirs] if pydensecrf else [ours]
            (wall, cpu), *other = measure(methods, case, args.repeats)
            published = PUBLISHED.get((height, width, labels))
            row = f'{width:>4}x{height:<3} {labels:>6} {wall:8.4f} {cpu:8.4f} '
            row += f'{published:9.3f} ' if published else f'{"-":>9} '
            if other:
                gap = np.abs(ours(*case) - theirs(*case)).max()
                row += f'{other[0][0]:10.4f} {gap:10.1e}'
            else:
                row += f'{"-":>10} {"-":>10}'
            print(row)


if __name__ == '__main__':
    main()
