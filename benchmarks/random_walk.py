"""Seconds and memory of the random walk, beside the squaring of a dense matrix.

Run from the project root: ``python benchmarks/random_walk.py [--threads N] [--json FILE]``.
The dense way is what PSA and IRN do, written here as the reference: the whole matrix of
a 500x375 photo at stride 8 is squared 8 times. Bars: 12 times as fast and a fifteenth of
the memory; a 2048x2048 image, from 448 feature channels to walked scores, under 30 s and
2 GB. On a busy machine compare the CPU seconds.

The bars are for up to 6 maps. The originals walk 21 channels of VOC, but those of absent
classes are zero and stay zero: here the background and the classes of the photo are
walked, which gives the same. Squaring costs the same for any number of maps, the sparse walk
grows with it. The row of 21 maps, a photo of all classes, is printed and has no bar.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss_plugins.affinity import Transition, pair_indices, pair_offsets
from wsss_plugins.refiners import RandomWalk
from wsss_plugins.structures import Seed, save_json

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
    first, inside = source.expand_as(target)[target >= 0], target[target >= 0]
    matrix = torch.eye(height * width)
    matrix[first, inside] = affinities.flatten(1)[target >= 0]
    matrix[inside, first] = matrix[first, inside]
    matrix = matrix**BETA
    matrix = matrix / matrix.sum(0)
    for _ in range(LOG_STEPS):
        matrix = matrix @ matrix
    return (maps.flatten(1) @ matrix).view(maps.shape)


def measure(
    methods: list[Callable[..., Tensor]], case: tuple[Tensor, Tensor], repeats: int
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


def resident_mb(word: str) -> float:
    """MB of this process by the kernel: ``VmRSS`` now, ``VmHWM`` at most (Linux)."""
    lines = Path('/proc/self/status').read_text('utf-8').splitlines()
    return next(int(x.split()[1]) for x in lines if x.startswith(word)) / 1024


def extra_mb(method: Callable[..., Tensor], maps: int, threads: int) -> float:
    """Most memory that ``method`` needs above its input; wants a fresh process."""
    torch.set_num_threads(threads)
    case = problem(maps)
    method(*(part[:, :9, :12].contiguous() for part in case))  # loads the libraries
    Path('/proc/self/clear_refs').write_text('5', 'utf-8')  # forgets the peak
    before = resident_mb('VmRSS')
    method(*case)
    return resident_mb('VmHWM') - before


class Features(nn.Module):
    """448 feature channels of an image that is not looked at."""

    radius, stride = RADIUS, 8

    def normalise(self, images: Tensor) -> Tensor:
        """As it is."""
        return images

    def features(self, images: Tensor) -> Tensor:
        """Random, with the same values for every image of a size."""
        rng = torch.Generator().manual_seed(0)
        grid = [side // self.stride for side in images.shape[-2:]]
        return torch.randn(len(images), 448, *grid, generator=rng)


def large(side: int, threads: int) -> tuple[float, float, float]:
    """Wall and CPU seconds of the refiner on a square image, and its process's peak MB."""
    torch.set_num_threads(threads)
    image = torch.zeros(3, side, side, dtype=torch.uint8)
    seed = Seed(
        torch.rand(2, side, side), torch.arange(2), torch.full((side, side), 0.3)
    )
    wall, cpu = time.perf_counter(), time.process_time()
    RandomWalk(Features(), beta=BETA, log_steps=LOG_STEPS)(image, seed)
    spent = time.perf_counter() - wall, time.process_time() - cpu
    return *spent, resident_mb('VmHWM')


def apart(task: Callable[..., object], *args: object) -> object:
    """The result of ``task`` in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as pool:
        return pool.submit(task, *args).result()


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description='The random walk, sparse and dense.')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--json', help='file to write the numbers to')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(
        f'{datetime.date.today()}  torch {torch.__version__}  '
        f'Python {platform.python_version()}  {platform.machine()}  '
        f'threads {args.threads}  best of {args.repeats}'
    )
    print(f'grid {GRID[0]}x{GRID[1]}, beta {BETA}, {2**LOG_STEPS} steps')
    head = ('maps', 'sparse s', 'CPU s', 'MB', 'dense s', 'CPU s', 'MB')
    print(('{:>9}' * 10).format(*head, 'faster', 'smaller', 'gap'))
    rows = []
    for maps in (*MAPS, ALL_MAPS):
        case = problem(maps)
        times = measure([ours, dense], case, args.repeats)
        memory = [apart(extra_mb, way, maps, args.threads) for way in (ours, dense)]
        faster, smaller = times[1][0] / times[0][0], memory[1] / memory[0]
        gap = (ours(*case) - dense(*case)).abs().max().item()
        numbers = (*times[0], memory[0], *times[1], memory[1], faster, smaller)
        print(f'{maps:9d}' + ('{:9.3f}' * 8).format(*numbers) + f'{gap:9.1e}')
        rows.append(
            dict(maps=maps, seconds=times, mb=memory, faster=faster, smaller=smaller)
        )
    print(
        f'{ALL_MAPS} maps: a photo of all classes, no bar. Channels of absent classes are '
        f'zero\nand not walked; the originals walk all {ALL_MAPS}'
    )
    seconds, cpu, peak = apart(large, 2048, args.threads)
    print(
        f'2048x2048 from 448 channels, 3 maps: {seconds:.2f} s, CPU {cpu:.2f} s, '
        f'{peak:.0f} MB in all'
    )
    met = dict(
        speed=min(row['faster'] for row in rows[: len(MAPS)]) >= BARS['speed'],
        memory=min(row['smaller'] for row in rows[: len(MAPS)]) >= BARS['memory'],
        large_seconds=seconds < BARS['large_seconds'],
        large_mb=peak < BARS['large_mb'],
    )
    for name, bar in BARS.items():
        print(f'bar {name:14} {bar:5d}  {"met" if met[name] else "MISSED"}')
    if args.json:
        numbers = dict(
            rows=rows, large=dict(seconds=seconds, cpu=cpu, mb=peak), met=met
        )
        save_json(args.json, numbers)


if __name__ == '__main__':
    main()
