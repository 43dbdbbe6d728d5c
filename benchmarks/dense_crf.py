"""Seconds and memory of the dense CRF, beside pydensecrf.

Run from the project root: ``python benchmarks/dense_crf.py [--threads N] [--json FILE]``.
PSA settings, 10 iterations, 500x375. When pydensecrf can be imported, it is measured in
turn with ours, and medians are compared; it builds both lattices anew and uses one core.
Otherwise its published CPU-seconds count (pydensecrf 1.0 on a 2-core Xeon virtual
machine, those for 3 labels measured with 2). Bars: as fast for 3 labels, 1.5 times for
21, twice for 8 images at once, 20 times on a GPU where there is one.

Threads of one task wait for each other. They sleep meanwhile (OMP_WAIT_POLICY), since
threads that spin take the cores from those they wait for once other jobs run too; even
so, on a busy machine compare the CPU seconds.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # before torch starts its threads

import numpy as np
import torch
from torch import Tensor

from wsss_plugins.refiners import PRESETS
from wsss_plugins.refiners.dense_crf import dense_crf, unary_from_scores
from wsss_plugins.structures import save_json

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


def ours(image: Tensor, unary: Tensor) -> Tensor:
    """Marginals ``(B, L, H, W)`` by this package, all images in one call."""
    return dense_crf(image, unary, PSA.gaussian, PSA.bilateral, PSA.iterations)


def on_gpu(image: Tensor, unary: Tensor) -> Tensor:
    """The same on a GPU, the way there and back included."""
    return ours(image.to('cuda'), unary.to('cuda')).to('cpu')


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
    methods: Mapping[str, Callable[..., Tensor]], case: Problem, repeats: int
) -> dict[str, tuple[float, float]]:
    """Median wall and CPU seconds of each method, taking turns."""
    times: Times = {name: [] for name in methods}
    for _ in range(repeats + 1):
        for name, method in methods.items():
            wall, cpu = time.perf_counter(), time.process_time()
            method(*case)
            spent = time.perf_counter() - wall, time.process_time() - cpu
            times[name].append(spent)
    # The first round was a warm-up.
    return {
        name: tuple(map(statistics.median, zip(*rounds[1:], strict=True)))
        for name, rounds in times.items()
    }


def resident_mb(word: str) -> float:
    """MB of this process by the kernel: ``VmRSS`` now, ``VmHWM`` at most (Linux)."""
    lines = Path('/proc/self/status').read_text('utf-8').splitlines()
    return next(int(x.split()[1]) for x in lines if x.startswith(word)) / 1024


def extra_mb(method: str, labels: int, images: int, threads: int) -> float:
    """Most memory that a method needs above its input; wants a fresh process."""
    torch.set_num_threads(threads)
    case = problem(labels, images)
    work = dict(ours=ours, theirs=theirs)[method]
    work(*(part[:1, ..., :9, :12].contiguous() for part in case))  # loads libraries
    Path('/proc/self/clear_refs').write_text('5', 'utf-8')  # forgets the peak
    before = resident_mb('VmRSS')
    work(*case)
    return resident_mb('VmHWM') - before


def apart(task: Callable[..., float], *args: object) -> float:
    """The result of ``task`` in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as pool:
        return pool.submit(task, *args).result()


def measure_row(labels: int, images: int, threads: int, repeats: int) -> dict:
    """Everything about one problem, as numbers."""
    methods: dict[str, Callable[..., Tensor]] = dict(ours=ours)
    if pydensecrf:
        methods['theirs'] = theirs
    if torch.cuda.is_available():
        methods['gpu'] = on_gpu
    case = problem(labels, images)
    times = measure(methods, case, repeats)
    published = PUBLISHED[labels] * images
    wall, cpu = times.get('theirs', (published, published))
    row = dict(
        labels=labels,
        images=images,
        seconds=times,
        faster=wall / times['ours'][0],
        less_cpu=cpu / times['ours'][1],
        mb=apart(extra_mb, 'ours', labels, images, threads),
        bar=BARS[labels, images],
    )
    if pydensecrf:
        row['mb_theirs'] = apart(extra_mb, 'theirs', labels, images, threads)
        row['gap'] = (ours(*case) - theirs(*case)).abs().max().item()
    if 'gpu' in times:
        row['faster_gpu'] = wall / times['gpu'][0]
    return row


def show(row: dict) -> None:
    """Prints one line of the table."""
    wall, cpu = row['seconds']['ours']
    other = row['seconds'].get('theirs', (float('nan'),) * 2)
    numbers = wall, cpu, *other, row['faster'], row['less_cpu']
    line = f'{row["labels"]:7d}{row["images"]:7d}' + ('{:9.3f}' * 6).format(*numbers)
    line += f'{row["mb"]:9.0f}{row.get("mb_theirs", float("nan")):9.0f}'
    line += f'{row.get("gap", float("nan")):9.1e}'
    line += f'  bar {row["bar"]}: {"met" if row["faster"] >= row["bar"] else "MISSED"}'
    if 'faster_gpu' in row:
        met = 'met' if row['faster_gpu'] >= GPU_BAR else 'MISSED'
        line += f'; GPU {row["faster_gpu"]:.1f}, bar {GPU_BAR}: {met}'
    print(line, flush=True)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description='Speed of the dense CRF.')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=7)
    parser.add_argument('--json', help='file to write the numbers to')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(
        f'{datetime.date.today()}  torch {torch.__version__}  numpy {np.__version__}  '
        f'Python {platform.python_version()}  {platform.machine()}  '
        f'threads {args.threads}  median of {args.repeats}  '
        f'load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores'
    )
    print('pydensecrf is', 'measured' if pydensecrf else 'not installed')
    head = ('ours s', 'CPU s', 'theirs s', 'CPU s', 'faster', 'less CPU', 'MB', 'MB')
    print(f'{"labels":>7}{"images":>7}' + ('{:>9}' * 9).format(*head, 'gap'))
    rows = []
    for labels, images in BARS:
        rows.append(measure_row(labels, images, args.threads, args.repeats))
        show(rows[-1])
    if args.json:
        save_json(args.json, dict(rows=rows, load=os.getloadavg()))


if __name__ == '__main__':
    main()
