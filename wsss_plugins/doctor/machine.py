"""Examining the environment: packages, GPU, processors, memory, disk."""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from wsss_plugins.doctor.findings import Findings, Kind
from wsss_plugins.environment import (
    installed_versions,
    package_problems,
    unmet_requirements,
)

GB = 1e9
LITTLE, TIGHT = 2 * GB, 20 * GB
"""Free disk space: too little to work, and little for a data set of real size."""

OPENCV = (
    'opencv-python', 'opencv-python-headless', 'opencv-contrib-python',
    'opencv-contrib-python-headless',
)  # fmt: skip

MACHINE = {
    'packages': Kind('{message}', '{mend}'),
    'requirement': Kind('{message}', '{mend}'),
    'opencv': Kind(
        'several builds of OpenCV are installed and overwrite each other: {names}',
        'pip uninstall -y {plain} && pip install opencv-python',
    ),
    'import': Kind(
        '{name} cannot be imported: {error}', 'pip install --force-reinstall {name}'
    ),
    'gpu-unused': Kind(
        'this machine has an NVIDIA driver, but torch {version} sees no GPU: {reason}',
        '{mend}',
    ),
    'disk-full': Kind('the disk of {path} has only {free} free', 'free some space'),
    'disk-tight': Kind(
        'the disk of {path} has {free} free: VOC 2012 takes about 3 GB unpacked, COCO 2014 '
        'about 20 GB',
        '',
        problem=False,
    ),
    'threads': Kind(
        'torch uses {threads} threads on {cores} cores that this process may use: they '
        "get in each other's way",
        'export OMP_NUM_THREADS={cores}',
    ),
    'shared-memory': Kind(
        '/dev/shm has only {free}: data loaders with workers end with a bus error',
        'docker run --shm-size=8g, or num_workers=0 in the data loaders',
    ),
}


def examine_machine(findings: Findings, roots: Iterable[Path] = ()) -> list[str]:
    """Examines packages and hardware; works when torch cannot be imported.

    Args:
        findings: Made with :data:`MACHINE`.
        roots: Folders whose disks matter.

    Returns:
        Lines that describe the machine.
    """
    facts = [
        f'python {platform.python_version()}, {platform.system()} {platform.machine()}'
    ]
    versions = {n: v for n, v in installed_versions().items() if v is not None}
    facts.append(', '.join(f'{name} {version}' for name, version in versions.items()))
    for kind, problems in (
        ('packages', package_problems()),
        ('requirement', unmet_requirements()),
    ):
        for problem in problems:
            message, _, mend = problem.rstrip('`').rpartition('`')
            message = re.sub(r'[:.] ?[Rr]un $', '', message)
            findings.add(kind, message=message, mend=mend)
    _examine_opencv(findings)
    facts += _examine_torch(findings)
    facts += _examine_disks(findings, roots)
    return facts


def _examine_opencv(findings: Findings) -> None:
    found = {}
    for name in OPENCV:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    if len(set(found.values())) > 1:
        names = ', '.join(f'{name} {version}' for name, version in found.items())
        findings.add('opencv', names=names, plain=' '.join(found))


def cores() -> int:
    """Cores that this process may use: affinity, and the share of a container."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        count = os.cpu_count() or 1
    try:
        quota, period = Path('/sys/fs/cgroup/cpu.max').read_text().split()
        count = min(count, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):
        pass
    return count


def _examine_torch(findings: Findings) -> list[str]:
    try:
        torch = importlib.import_module('torch')
    except Exception as error:  # a broken installation raises anything
        reason = ' '.join(str(error).split())[:200] or type(error).__name__
        findings.add('import', name='torch', error=reason)
        return []
    available = cores()
    threads = torch.get_num_threads()
    if threads > available:
        findings.add('threads', threads=threads, cores=available)
    facts = [f'cores: {available}; threads of torch: {threads}']
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(i)
            facts.append(f'GPU {i}: {card.name}, {card.total_memory / GB:.0f} GB')
        return facts
    facts.append('no GPU that torch can use: work is done on the processor')
    if shutil.which('nvidia-smi') or Path('/proc/driver/nvidia/version').exists():
        cpu_build = torch.version.cuda is None
        findings.add(
            'gpu-unused',
            version=torch.__version__,
            reason='it was built for processors only' if cpu_build
            else f'it was built for CUDA {torch.version.cuda}, perhaps newer than the driver',
            mend='install the build of torch for your CUDA, as its own site says'
            if cpu_build else 'update the driver, or install torch for an older CUDA',
        )  # fmt: skip
    return facts


def _examine_disks(findings: Findings, roots: Iterable[Path]) -> list[str]:
    facts = []
    seen = set()
    for root in (Path.cwd(), *roots):
        place = next(p for p in (root.resolve(), *root.resolve().parents) if p.exists())
        device = place.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        free = shutil.disk_usage(place).free
        words = f'{free / GB:.1f} GB'
        facts.append(f'disk of {place}: {words} free')
        if free < TIGHT:
            kind = 'disk-full' if free < LITTLE else 'disk-tight'
            findings.add(kind, path=place, free=words)
    shared = Path('/dev/shm')
    if shared.is_dir() and (size := shutil.disk_usage(shared).total) < 0.2 * GB:
        findings.add('shared-memory', free=f'{size / 1e6:.0f} MB')
    return facts
