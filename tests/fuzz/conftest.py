"""A tiny experiment to spoil, the door through which its commands are called, and a count."""

from __future__ import annotations

import importlib
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import Bench, make_bench
from doors import ELSE, ONE_LINE, RAN_RIGHT, Door

KINDS = {
    'test_fuzz_configs': 'configs and options',
    'test_fuzz_data': 'data trees and seeds',
    'test_fuzz_labels': 'tables of labels and annotations of VOC',
    'test_fuzz_annotations': 'annotations of COCO and of other tools',
    'test_fuzz_weights': 'checkpoints and folders of models',
    'test_fuzz_machine': 'disks, folders and memory',
}
"""What is spoilt in each file of tests; every parametrised test in them is a case."""
HOW = 'how a case ended'


@pytest.fixture(scope='session', autouse=True)
def imported() -> None:
    """What commands import is imported before one of them is limited in time."""
    for name in ('mmseg.datasets', 'timm', 'pycocotools.coco', 'matplotlib.pyplot'):
        importlib.import_module(name)
    for room in ('doctor', 'datasets.preparation', 'experiment', 'explain'):
        importlib.import_module(f'wsss_plugins.{room}')


@pytest.fixture
def bench(made_once, tmp_path: Path) -> Bench:
    """A fresh copy of the tiny experiment, to spoil and to run."""
    whole = made_once('bench', make_bench)
    return Bench(Path(shutil.copytree(whole, tmp_path / 'bench', symlinks=True)))


@pytest.fixture
def door(capfd, monkeypatch, tmp_path: Path) -> Door:
    """Calls the commands."""
    return Door(capfd, monkeypatch, tmp_path)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator:
    """Notes of every case how it ended."""
    report = (yield).get_result()
    kind = KINDS.get(item.path.stem)
    if (
        kind
        and call.when == 'call'
        and hasattr(item, 'callspec')
        and not report.skipped
    ):
        how = ELSE if report.failed else item.funcargs['door'].how
        report.user_properties.append((HOW, [kind, how]))


def pytest_terminal_summary(terminalreporter) -> None:
    """Counts the cases by kind and by how they ended."""
    reports = [
        r for part in ('passed', 'failed') for r in terminalreporter.getreports(part)
    ]
    found = Counter(
        tuple(value) for r in reports for key, value in r.user_properties if key == HOW
    )
    ends = (ONE_LINE, RAN_RIGHT, ELSE)
    rows = [(kind, *(found[kind, how] for how in ends)) for kind in KINDS.values()]
    rows.append(('all', *(sum(row[i] for row in rows) for i in (1, 2, 3))))
    if found:
        terminalreporter.write_line(f'| spoilt | cases | {" | ".join(ends)} |')
        for kind, *counts in rows:
            cells = ' | '.join(map(str, (sum(counts), *counts)))
            terminalreporter.write_line(f'| {kind} | {cells} |')
