"""A miniature devkit and SBD, and preparing them."""

from __future__ import annotations

from pathlib import Path

import pytest
from archive_trees import make_devkit, make_sbd

from wsss_plugins.datasets.preparation import prepare_voc12
from wsss_plugins.errors import DataError


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    return make_devkit(tmp_path / 'given')


@pytest.fixture
def sbd(tmp_path: Path) -> Path:
    return make_sbd(tmp_path / 'given')


@pytest.fixture
def prepare(voc: Path, sbd: Path, tmp_path: Path):
    """Prepares the miniature devkit; arguments replace the usual ones."""

    def run(sources=None, sbd_sources=(sbd,), out=tmp_path / 'out', **options):
        sources = [voc.parent] if sources is None else sources
        options = dict(any_count=True, workers=2) | options
        return prepare_voc12(sources, sbd_sources, out, **options)

    return run


@pytest.fixture
def refused(prepare):
    """Prepares what must be refused; the one line it says."""

    def run(*arguments, **options) -> str:
        with pytest.raises(DataError) as caught:
            prepare(*arguments, **options)
        assert '\n' not in str(caught.value)
        return str(caught.value)

    return run
