"""Seconds and memory of the random walk, beside the squaring of a dense matrix.

Run from the project root: ``python benchmarks/random_walk.py [--threads N] [--device cuda]``.
The dense way is what PSA and IRN do, written here as the reference: the whole matrix of
a 500x375 photo at stride 8 is squared 8 times. Bars: 12 times as fast and a fifteenth of
the memory; a 2048x2048 image, from 448 feature channels to walked scores, under 30 s and
2 GB above what was there. On a busy machine compare the CPU seconds.

The bars are for up to 6 maps. The originals walk 21 channels of VOC, but those of absent
classes are zero and stay zero: here the background and the classes of the photo are
walked, which gives the same. Squaring costs the same for any number of maps, the sparse walk
grows with it. The row of 21 maps, a photo of all classes, is printed and has no bar. With
``--images N`` each way walks N photos, one after the other. ``gap`` is the largest difference of
both ways, ``gap_cpu`` that of the sparse walk on a GPU and on the CPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from measuring import (
    measured_args,
    peak_megabytes,
    print_about,
    print_table,
    save_report,
    seconds,
)
from torch import Tensor, nn

from wsss_plugins.affinity import Transition, pair_indices, pair_offsets
from wsss_plugins.refiners import RandomWalk
from wsss_plugins.structures import Seed

RADIUS, BETA, LOG_STEPS = 5, 8, 8
GRID = (47, 63)
MAPS = (2, 3, 6)
"""Background and 1, 2 or 5 classes: what a photo has."""
ALL_MAPS = 21
BARS = dict(speed=12, memory=15, large_seconds=30, large_mb=2048)


def problem(maps: int) -> tuple[Tensor, Tensor]:
    """Smooth affinities with some strong edges, and maps to walk."""
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, len(pair_offsets(RADIUS)), 8, 10, generator=rng)
    affinities = F.interpolate(coarse, GRID, mode='bicubic')[0].clamp_(0, 1)
    return affinities, torch.rand(maps, *GRID, generator=rng)


def ours(affinities: Tensor, maps: Tensor) -> Tensor:
    """The sparse walk of this package."""
    return Transition(affinities, RADIUS, BETA).walk(maps, 2**LOG_STEPS)


def dense(affinities: Tensor, maps: Tensor) -> Tensor:
    """The reference: squares the whole transition matrix."""
    height, width = maps.shape[1:]
    source, target = pair_indices(height, width, RADIUS, 'irn')
    source, target = source.to(maps.device), target.to(maps.device)
    first, inside = source.expand_as(target)[target >= 0], target[target >= 0]
    matrix = torch.eye(height * width, device=maps.device)
    matrix[first, inside] = affinities.flatten(1)[target >= 0]
    matrix[inside, first] = matrix[first, inside]
    matrix = matrix**BETA
    matrix = matrix / matrix.sum(0)
    for _ in range(LOG_STEPS):
        matrix = matrix @ matrix
    return (maps.flatten(1) @ matrix).view(maps.shape)


def of_all(
    walk: Callable[..., Tensor], case: tuple[Tensor, Tensor], images: int
) -> Tensor:
    """The walk of so many photos, one after the other."""
    return torch.stack([walk(*case) for _ in range(images)])


def measure(
    jobs: list[Callable[[], object]], args: argparse.Namespace
) -> list[tuple[float, float]]:
    """Least wall seconds and least CPU seconds of each way, taking turns."""
    best = [(float('inf'), float('inf'))] * len(jobs)
    for _ in range(args.repeats + 1):  # the first is a warm-up that the minimum drops
        for i, job in enumerate(jobs):
            cpu = time.process_time()
            wall = seconds(job, args.device)
            best[i] = min(best[i][0], wall), min(best[i][1], time.process_time() - cpu)
    return best


def measure_row(maps: int, args: argparse.Namespace) -> dict:
    """Both ways for one number of maps."""
    there = problem(maps)
    case = tuple(part.to(args.device) for part in there)
    jobs = [partial(of_all, way, case, args.images) for way in (ours, dense)]
    times = measure(jobs, args)
    memory = [peak_megabytes(job, args.device) for job in jobs]
    found = ours(*case)
    row = dict(
        maps=maps,
        images=args.images,
        seconds=round(times[0][0], 3),
        cpu_seconds=round(times[0][1], 3),
        peak_mb=round(memory[0], 1),
        dense=round(times[1][0], 3),
        dense_cpu=round(times[1][1], 3),
        dense_mb=round(memory[1], 1),
        faster=round(times[1][0] / times[0][0], 1),
        smaller=round(memory[1] / memory[0], 1),
        gap=f'{(found - dense(*case)).abs().max().item():.1e}',
    )
    if args.device == 'cuda':
        row['gap_cpu'] = f'{(found.cpu() - ours(*there)).abs().max().item():.1e}'
    return row


class Features(nn.Module):
    """448 feature channels of an image that is not looked at."""

    radius, stride = RADIUS, 8

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(()))  # where the refiner computes

    def normalise(self, images: Tensor) -> Tensor:
        """As it is."""
        return images

    def features(self, images: Tensor) -> Tensor:
        """Random, with the same values for every image of a size."""
        rng = torch.Generator().manual_seed(0)
        grid = [side // self.stride for side in images.shape[-2:]]
        return torch.randn(len(images), 448, *grid, generator=rng).to(images.device)


def large(side: int, device: str) -> None:
    """The refiner on a square image."""
    image = torch.zeros(3, side, side, dtype=torch.uint8)
    ids, background = torch.arange(2), torch.full((side, side), 0.3)
    seed = Seed(torch.rand(2, side, side), ids, background)
    RandomWalk(Features().to(device), beta=BETA, log_steps=LOG_STEPS)(image, seed)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description='The random walk, sparse and dense.')
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--images', type=int, default=1)
    parser.add_argument('--maps', type=int, nargs='+', default=[*MAPS, ALL_MAPS])
    parser.add_argument('--no-large', action='store_true', help='no image of 2048x2048')
    args = measured_args(parser)
    about = print_about(args)
    print(f'grid {GRID[0]}x{GRID[1]}, beta {BETA}, {2**LOG_STEPS} steps')
    rows = [measure_row(maps, args) for maps in args.maps]
    print_table(rows)
    barred = [row for row in rows if row['maps'] in MAPS]
    met = dict(
        speed=all(row['faster'] >= BARS['speed'] for row in barred),
        memory=all(row['smaller'] >= BARS['memory'] for row in barred),
    )
    found = {}
    if not args.no_large:
        work = partial(large, 2048, args.device)
        spent, peak = seconds(work, args.device), peak_megabytes(work, args.device)
        found = dict(seconds=spent, mb=peak)
        met |= dict(
            large_seconds=spent < BARS['large_seconds'],
            large_mb=peak < BARS['large_mb'],
        )
        print(f'2048x2048 from 448 channels, 3 maps: {spent:.2f} s, {peak:.0f} MB')
    for name, ok in met.items():
        print(f'bar {name:14} {BARS[name]:5d}  {"met" if ok else "MISSED"}')
    save_report(args, about=about, rows=rows, large=found, met=met)


if __name__ == '__main__':
    main()
