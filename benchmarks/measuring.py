"""Time and peak memory of one call; what the benchmarks share."""

from __future__ import annotations

import argparse
import ctypes
import datetime
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wsss_plugins.structures import save_json

DEVICES = ('cpu', 'cuda')


def measured_args(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Adds ``--device``, ``--threads`` and ``--json``, and reads the command line."""
    parser.add_argument(
        '--device',
        choices=DEVICES,
        default=DEVICES[torch.cuda.is_available()],
        help='what is measured (default: the GPU if there is one)',
    )
    parser.add_argument('--threads', type=int, default=2, help='of the CPU')
    parser.add_argument('--json', type=Path, help='where to store the figures')
    args = parser.parse_args()
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('there is no GPU here: give --device cpu')
    torch.set_num_threads(args.threads)
    return args


def print_about(args: argparse.Namespace) -> dict[str, Any]:
    """Prints, and returns, the day, the machine and the arguments of a measurement."""
    name = torch.cuda.get_device_name() if args.device == 'cuda' else 'CPU'
    about = dict(
        date=str(datetime.date.today()),
        torch=torch.__version__,
        device_name=name,
        machine=platform.machine(),
        load=round(os.getloadavg()[0], 1),
        **{k: v for k, v in vars(args).items() if k != 'json' and v is not None},
    )
    print('  '.join(f'{key} {value}' for key, value in about.items()))
    return about


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints rows with the same columns as a table of Markdown."""
    print('\n| ' + ' | '.join(rows[0]) + ' |')
    print('|' + '---|' * len(rows[0]))
    for row in rows:
        cells = ('-' if value is None else str(value) for value in row.values())
        print('| ' + ' | '.join(cells) + ' |')


def save_report(args: argparse.Namespace, **parts: Any) -> None:
    """Stores the figures where ``--json`` says."""
    if args.json:
        save_json(args.json, parts)


def seconds(work: Callable[[], object], device: str) -> float:
    """Wall seconds of one call, the accelerator's queue included."""
    start = time.perf_counter()
    work()
    if device == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter() - start


def medians(
    jobs: Mapping[str, Callable[[], object]], repeats: int, device: str
) -> dict[str, float]:
    """Median seconds of each job; the jobs take turns, after one warm-up round."""
    rounds = [
        {name: seconds(job, device) for name, job in jobs.items()}
        for _ in range(repeats + 1)
    ]
    return {name: statistics.median(r[name] for r in rounds[1:]) for name in jobs}


def peak_megabytes(job: Callable[[], object], device: str) -> float:
    """Highest memory during one call, above that before it: of the GPU, or of the process."""
    if device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        job()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    clear, status = Path('/proc/self/clear_refs'), Path('/proc/self/status')
    if not clear.exists():  # no Linux
        return math.nan
    with suppress(OSError, AttributeError):  # the C library has one
        ctypes.CDLL(None).malloc_trim(0)  # what earlier calls left would hide this one
    clear.write_text('5')  # the peak is now what is in use
    before = _kilobytes(status, 'VmHWM:')
    job()
    return (_kilobytes(status, 'VmHWM:') - before) / 1e3


def free_megabytes(device: str) -> float:
    """Memory that is free for the measurement."""
    if device == 'cuda':
        return torch.cuda.mem_get_info()[0] / 1e6
    about = Path('/proc/meminfo')
    return _kilobytes(about, 'MemAvailable:') / 1e3 if about.exists() else math.inf


def largest_gap(found: Tensor, expected: Tensor) -> float:
    """Largest difference of two tensors, relative to the largest value of the second."""
    found, expected = found.detach().cpu().double(), expected.detach().cpu().double()
    largest = expected.abs().max()
    return float((found - expected).abs().max() / largest) if largest else math.nan


def without_tf32() -> None:
    """Lets a GPU compute float32 in float32: cuDNN rounds to 10 bits by default."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def _kilobytes(path: Path, name: str) -> int:
    return int(path.read_text().split(name)[1].split()[0])
