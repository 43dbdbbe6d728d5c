"""A tiny experiment to spoil, and the door through which its commands are called."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import pytest
from bench import Bench, make_bench
from doors import Door


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
