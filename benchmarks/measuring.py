"""Time and peak memory of one call; what the benchmarks share."""

from __future__ import annotations

import ctypes
import math
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import torch

PLACE = 'cuda' if torch.cuda.is_available() else 'cpu'


def seconds(work: Callable[[], object]) -> float:
    """Wall seconds of one call, the accelerator's queue included."""
    start = time.perf_counter()
    work()
    if PLACE == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter() - start


def medians(jobs: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each job; the jobs take turns, after one warm-up round."""
    rounds = [
        {name: seconds(job) for name, job in jobs.items()} for _ in range(repeats + 1)
    ]
    return {name: statistics.median(r[name] for r in rounds[1:]) for name in jobs}


def peak_megabytes(job: Callable[[], object]) -> float:
    """Highest memory during one call, above that before it; of the GPU if there is one."""
    if PLACE == 'cuda':
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


def free_megabytes() -> float:
    """Memory that is free for the measurement."""
    if PLACE == 'cuda':
        return torch.cuda.mem_get_info()[0] / 1e6
    about = Path('/proc/meminfo')
    return _kilobytes(about, 'MemAvailable:') / 1e3 if about.exists() else math.inf


def _kilobytes(path: Path, name: str) -> int:
    return int(path.read_text().split(name)[1].split()[0])
