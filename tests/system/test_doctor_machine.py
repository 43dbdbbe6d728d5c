"""What the doctor says of packages and hardware, with each fault made up."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from importlib import metadata

import pytest
import torch

from wsss_plugins.doctor import Finding, Findings
from wsss_plugins.doctor.machine import MACHINE, cores, examine_machine
from wsss_plugins.environment import unmet_requirements

Usage = namedtuple('Usage', 'total used free')


def diagnose() -> dict[str, Finding]:
    findings = Findings(MACHINE)
    facts = examine_machine(findings)
    assert facts and not any('\n' in fact for fact in facts)
    found = findings.gathered()
    return {finding.kind: finding for finding in found}


@pytest.fixture(autouse=True)
def sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without faults, whatever this one is like."""
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: Usage(9e12, 0, 9e12))
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 1)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(shutil, 'which', lambda _: None)
    monkeypatch.setattr('pathlib.Path.exists', lambda p: str(p) != NVIDIA)


NVIDIA = '/proc/driver/nvidia/version'


def test_a_sound_machine() -> None:
    assert diagnose() == {}
    assert 1 <= cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ('free', 'kind', 'problem'), [(1e9, 'disk-full', True), (9e9, 'disk-tight', False)]
)
def test_disk(monkeypatch, free, kind, problem) -> None:
    usage = Usage(9e12, 0, free)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage)
    found = diagnose()
    assert set(found) == {kind} and found[kind].problem is problem
    assert f'{free / 1e9:.1f} GB' in found[kind].message


def test_little_shared_memory(monkeypatch) -> None:
    def usage(path: object) -> Usage:
        return Usage(64e6, 0, 64e6) if str(path) == '/dev/shm' else Usage(9e12, 0, 9e12)

    monkeypatch.setattr(shutil, 'disk_usage', usage)
    monkeypatch.setattr('pathlib.Path.is_dir', lambda _: True)
    assert '/dev/shm has only 64 MB' in diagnose()['shared-memory'].message


def test_a_gpu_that_torch_does_not_see(monkeypatch) -> None:
    monkeypatch.setattr(shutil, 'which', lambda _: '/usr/bin/nvidia-smi')
    monkeypatch.setattr(torch.version, 'cuda', None)
    assert 'it was built for processors only' in diagnose()['gpu-unused'].message
    monkeypatch.setattr(torch.version, 'cuda', '13.0')
    found = diagnose()['gpu-unused']
    assert 'it was built for CUDA 13.0' in found.message
    assert found.mend.startswith('update the driver')


def test_gpus_are_facts(monkeypatch) -> None:
    card = namedtuple('Card', 'name total_memory')('H200', 150e9)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setattr(torch.cuda, 'get_device_properties', lambda _: card)
    findings = Findings(MACHINE)
    assert 'GPU 1: H200, 150 GB' in examine_machine(findings)
    assert findings.gathered() == []


def test_more_threads_than_cores(monkeypatch) -> None:
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 64)
    monkeypatch.setattr('wsss_plugins.doctor.machine.cores', lambda: 4)
    found = diagnose()['threads']
    assert found.message.startswith('torch uses 64 threads on 4 cores')
    assert found.mend == 'export OMP_NUM_THREADS=4'


def test_torch_that_cannot_be_imported(monkeypatch) -> None:
    def broken(_: str) -> None:
        raise OSError('libcudnn.so.9: cannot open shared object file')

    monkeypatch.setattr('importlib.import_module', broken)
    found = diagnose()['import']
    assert found.message.startswith('torch cannot be imported: libcudnn.so.9')


def test_several_builds_of_opencv(monkeypatch) -> None:
    there = {'opencv-python': '5.0', 'opencv-python-headless': '4.9'}
    version = metadata.version
    monkeypatch.setattr(metadata, 'version', lambda n: there.get(n) or version(n))
    found = diagnose()['opencv']
    assert found.message.endswith('opencv-python 5.0, opencv-python-headless 4.9')
    there['opencv-python-headless'] = '5.0'
    assert diagnose() == {}


def test_requirements_of_the_package(monkeypatch) -> None:
    wanted = [
        'timm>=99',
        'nothing-such',
        'numpy',
        "pydensecrf2>=77; extra == 'optional'",
    ]
    monkeypatch.setattr(metadata, 'requires', lambda _: wanted)
    installed = metadata.version('timm')
    assert unmet_requirements() == [
        f'timm>=99 is needed, but timm {installed} is installed: run `pip install "timm>=99"`',
        'nothing-such is needed, but none is installed: run `pip install "nothing-such"`',
    ]
    monkeypatch.setattr('wsss_plugins.doctor.machine.package_problems', lambda: [])
    findings = Findings(MACHINE)
    examine_machine(findings)
    first, second = findings.gathered()
    assert first.message == f'timm>=99 is needed, but timm {installed} is installed'
    assert first.mend == 'pip install "timm>=99"' and second.kind == 'requirement'


def test_a_package_that_is_not_installed_has_no_requirements() -> None:
    assert unmet_requirements('no-such-package-here') == []


def test_installed_requirements_are_met() -> None:
    assert unmet_requirements() == []
