"""tools/prepare_data.py as a user runs it: killed, run again, and with mistakes."""

from __future__ import annotations

import re
import runpy
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
from archive_trees import TRAIN_AUG, cut, files_of, make_devkit, make_sbd, pack_tar
from imagenet_trees import GOLDFISH, make_imagenet_seg
from PIL import Image
from trees import make_coco, square

from wsss_plugins.datasets import VOC12
from wsss_plugins.datasets.preparation import download
from wsss_plugins.datasets.preparation.download import Archive, archives_of
from wsss_plugins.structures import PART_FILES, load_json, load_label_map, voc_palette

TOOL = 'prepare_data.py'


@pytest.fixture
def archives(tmp_path: Path) -> list[object]:
    """The words of the command that prepares a miniature VOC from its archives."""
    voc = make_devkit(tmp_path / 'given')
    sbd = make_sbd(tmp_path / 'given')
    tar = pack_tar(voc.parent, tmp_path / 'VOCtrainval_11-May-2012.tar')
    tgz = pack_tar(sbd, tmp_path / 'benchmark.tgz', 'w:gz')
    return ['voc12', tar, '--sbd', tgz, '--any-count', '--workers', 2]


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the tool in this process, which saves the imports; what it prints."""

    def call(*words: object) -> str:
        monkeypatch.setattr(sys, 'argv', [TOOL, *map(str, words)])
        capsys.readouterr()
        runpy.run_path(str(tiny.TOOLS / TOOL), run_name='__main__')
        return capsys.readouterr().out

    return call


def test_what_is_not_named_is_taken_from_a_mirror(
    run, archives, tmp_path, monkeypatch, capsys
) -> None:
    def without_checksums(name: str) -> list[Archive]:
        return [replace(archive, md5='') for archive in archives_of(name)]

    monkeypatch.setattr(download, 'archives_of', without_checksums)
    out = tmp_path / 'out'
    words = ['voc12', '--from', tmp_path, '--any-count', '--out', out]
    assert run(*words).startswith(f'{out / "VOC2012"}: complete\n')
    assert (out / 'VOC2012/ImageSets/Segmentation/train_aug.txt').is_file()


@pytest.mark.slow
def test_killed_and_run_again(run, archives, tmp_path) -> None:
    whole, out = tmp_path / 'whole', tmp_path / 'killed'
    assert run(*archives, '--out', whole).splitlines() == [
        f'{whole / "VOC2012"}: complete',
        '  train                          2',
        '  val                            1',
        '  trainval                       3',
        '  train aug                      4',
        '  without label                  0',
    ]
    driver = [Path(__file__).with_name('die_at.py'), '*/SegmentationClassAug/*.png', 2]
    words = [tiny.TOOLS / TOOL, *archives, '--out', out]
    tiny.run_python(*driver, *words, code=-signal.SIGKILL)
    assert not load_json(out / 'VOC2012/prepared.json')['complete']
    assert list(out.rglob(PART_FILES)), 'it died while writing'
    run(*archives, '--out', out)
    assert files_of(out) == files_of(whole)
    again = run(*archives, '--out', out)
    assert again.startswith(f'{out / "VOC2012"}: already complete')
    assert VOC12(out / 'VOC2012', 'train_aug').ids == TRAIN_AUG


def test_the_page_runs(tmp_path, monkeypatch, capsys) -> None:
    page = (tiny.ROOT / 'docs/how-to/prepare_data.md').read_text('utf-8')
    (code,) = re.findall(r'^```python\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    make_coco(tmp_path / 'coco128', ['a.jpg', 'b.jpg'], [square(1)])
    exec(compile(code, 'prepare_data.md', 'exec'), {})
    said = capsys.readouterr().out
    assert said.startswith("{'train2014': 2, 'train2014_unlabelled': 1}\nenvironment\n")
    assert 'data/coco128: MS COCO 2014' in said


def test_mistakes_are_one_line(refused, archives, tmp_path) -> None:
    def say(*words: object) -> str:
        return refused(TOOL, *words, '--out', tmp_path / 'out')

    _, tar, _, tgz, *rest = archives
    assert say('voc12', tar) == (
        'train_aug and its masks need SBD: give --sbd benchmark.tgz, --download to fetch '
        'it, or --no-sbd to do without'
    )
    assert 'were both given: choose one' in say('voc12', tar, '--sbd', tgz, '--no-sbd')
    assert 'does not exist: correct the path' in say('voc12', 'no.tar', '--no-sbd')
    assert 'train.txt has 2 images, the official' in say('voc12', tar, '--no-sbd')
    assert f'{tgz} has no folder JPEGImages (it holds' in say('voc12', tgz, '--no-sbd')
    assert say('sbd') == (
        'name the files that you have downloaded, or give --download to fetch them'
    )
    text = say('coco14', tar)
    assert f'{tar} has no annotations/instances_train2014.json' in text
    assert 'train.txt of SBD has 2 images, the official one 8,498' in say('sbd', tgz)
    assert 'no folder or archive, not MATLAB 7.3' in say('imagenet-seg', __file__)
    cut(tar)
    text = say('voc12', tar, '--sbd', tgz, *rest)
    assert f'{tar} is cut off or damaged' in text
    assert not (tmp_path / 'out').exists()


def test_the_other_sub_commands(run, tmp_path) -> None:
    sbd = make_sbd(tmp_path)
    out = run('sbd', sbd, '--out', tmp_path / 'sbd', '--any-count')
    assert out.splitlines()[1:] == [f'  {s:<24} {2:>7}' for s in ('train', 'val')]
    coco = make_coco(tmp_path / 'given', ['a.jpg', 'b.jpg'], [square(1), square(1, 2)])
    out = run('coco14', coco, '--out', tmp_path / 'coco', '--any-count')
    assert out.startswith(f'{tmp_path / "coco"}: complete\n  train2014  ')
    make_imagenet_seg(tmp_path / 'seg/gtsegs_ijcv.mat', dict(a=GOLDFISH))
    out = run('imagenet-seg', tmp_path / 'seg', '--out', tmp_path / 'is', '--any-count')
    assert '  classes                        1' in out
    (tmp_path / 'colours').mkdir()
    colours = voc_palette()[np.array([[0, 3, 255]])]
    Image.fromarray(colours).save(tmp_path / 'colours/x.png')
    kind = ('--kind', 'colours', '--out', tmp_path / 'maps')
    assert run('convert-masks', tmp_path / 'colours', *kind).endswith(': 1 label map\n')
    assert load_label_map(tmp_path / 'maps/x.png').tolist() == [[0, 3, 255]]
