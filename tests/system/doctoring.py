"""Trees for the doctor's tests, its findings by kind, and its advice followed."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from archive_trees import make_devkit, make_sbd
from trees import make_coco, square

from wsss_plugins.command.main import main
from wsss_plugins.datasets.preparation import prepare_coco14, prepare_voc12
from wsss_plugins.doctor import Finding, examine

LISTS = 'ImageSets/Segmentation'


def prepared_voc(tmp_path: Path) -> Path:
    """A prepared devkit, copied, so that it can be broken; its record is removed."""
    given = make_devkit(tmp_path / 'given')
    sbd = make_sbd(tmp_path / 'given')
    root = prepare_voc12(
        [given], [sbd], tmp_path / 'data', copy=True, any_count=True
    ).root
    for name in ('prepared.json', 'checksums.sha256'):
        (root / name).unlink()
    return root


def prepared_coco(tmp_path: Path) -> Path:
    images = [f'COCO_train2014_{i:012}.jpg' for i in (9, 25, 30)]
    large = square(90, 1, segmentation=[[0, 0, 10, 0, 10, 6, 0, 6]], area=60)
    found = [large, square(1, 1), square(2, 3)]
    given = make_coco(tmp_path / 'given', images, found)
    root = prepare_coco14([given], tmp_path / 'coco', copy=True, any_count=True).root
    for name in ('prepared.json', 'checksums.sha256'):
        (root / name).unlink()
    return root


PARTIAL = {'list-count', 'list-part'}
"""All miniature sets have other counts than the real ones; and every one says so."""


def diagnose(root: Path, **options) -> dict[str, Finding]:
    """Findings of data by kind, without those of size; at most one of each kind."""
    found = [
        finding
        for report in examine([root], **options).reports
        if report.place != 'environment'
        for finding in report.findings
        if finding.kind not in PARTIAL
    ]
    kinds = [finding.kind for finding in found]
    assert len(set(kinds)) == len(kinds), kinds
    assert not any('\n' in f.message + f.mend for f in found)
    return dict(zip(kinds, found, strict=True))


def run_mend(finding: Finding, root: Path) -> None:
    """Runs the command that mends a finding, as the user would."""
    if finding.mend.startswith('wsss '):
        run_here(shlex.split(finding.mend))
        return
    done = subprocess.run(
        ['bash', '-c', finding.mend], capture_output=True, text=True, cwd=root
    )
    assert done.returncode == 0, done.stderr


def run_here(words: list[str]) -> None:
    """Runs the command ``wsss`` in this process, which saves the imports."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', words)
        main()
