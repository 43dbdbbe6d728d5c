"""tools/test.py of a segmentor: scales and tables, the server's archive, its check."""

from __future__ import annotations

import csv
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
from mmengine.registry import init_default_scope
from mmseg.models.segmentors import EncoderDecoder
from safetensors.torch import save_file
from trees import save_image

from wsss_plugins.config import load_config
from wsss_plugins.datasets import VOC12
from wsss_plugins.registry import MODELS, SCOPE, build_as
from wsss_plugins.stages.submission import check_archive, photo_sizes
from wsss_plugins.structures import load_json, load_npz

pytestmark = pytest.mark.slow

CONFIG = tiny.ROOT / 'configs/deeplabv2/synthetic.py'
SMALL = [
    'model.backbone.base_channels=4', 'model.backbone.stem_channels=4',
    'model.decode_head.in_channels=32', 'prediction.scales=(0.75,1.0)',
]  # fmt: skip


@pytest.fixture(scope='module')
def world(data_root, tmp_path_factory) -> Path:
    """The tiny data set with a test split, and a segmentor that was never trained."""
    folder = tmp_path_factory.mktemp('submission')
    root = folder / 'VOC2012'
    shutil.copytree(data_root, root)
    lists = root / 'ImageSets/Segmentation'
    names = (lists / 'val.txt').read_text().split()[:5]
    for name in names:  # photos alone: nothing else is known of a test image
        shutil.copy(root / f'JPEGImages/{name}.jpg', root / f'JPEGImages/t{name}.jpg')
    (lists / 'test.txt').write_text(''.join(f't{name}\n' for name in names))
    return folder


@pytest.fixture(scope='module')
def checkpoint(world) -> Path:
    options = dict(pair.split('=', 1) for pair in SMALL[:3])
    init_default_scope(SCOPE)
    cfg = load_config(CONFIG, {k: int(v) for k, v in options.items()})
    model = build_as(MODELS, cfg.model, EncoderDecoder)
    path = world / 'weights.safetensors'
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path)
    return path


@pytest.fixture
def tool(monkeypatch, capfd, world):
    """Runs tools/test.py in this process; what it prints."""

    def run(*arguments: object, options: list[str] | None = None) -> str:
        words = ['test.py', str(CONFIG), *map(str, arguments)]
        words += ['--data-root', str(world / 'VOC2012'), '--cfg-options']
        words += SMALL if options is None else options
        monkeypatch.setattr(sys, 'argv', words)
        monkeypatch.chdir(tiny.ROOT)
        capfd.readouterr()
        runpy.run_path(str(tiny.TOOLS / 'test.py'), run_name='__main__')
        return capfd.readouterr().out

    return run


def dataset(world: Path) -> VOC12:
    return VOC12(world / 'VOC2012', 'test', labels=None, test_mode=True)


def test_writes_the_archive_and_checks_it(tool, world, checkpoint, tmp_path) -> None:
    out, work = tmp_path / 'sent/results.tar.gz', tmp_path / 'work'
    command = [checkpoint, '--format-only', '--out', out, '--work-dir', work]
    said = tool(*command)
    assert said.startswith(f'{out}: 5 label maps in results/VOC2012/Segmentation/comp6')
    sizes = photo_sizes(dataset(world))
    assert len(sizes) == 5 and check_archive(out, sizes, 7) == 6
    said = tool('--check', out)
    assert said == f'{out} is complete: 5 label maps for comp6\n'

    before = out.read_bytes()
    labels = sorted(work.glob('predictions/*/labels/*.png'))
    assert [path.stem for path in labels] == sorted(sizes)
    times = [path.stat().st_mtime_ns for path in labels]
    tool(*command)
    assert out.read_bytes() == before
    assert [path.stat().st_mtime_ns for path in labels] == times, 'not predicted again'
    tool(*command, '--competition', 5)
    assert check_archive(out, sizes, 7) == 5
    assert len(list(work.glob('predictions/*'))) == 1
    tool(*command, options=[*SMALL[:3], 'prediction.flip=False'])
    assert len(list(work.glob('predictions/*'))) == 2, (
        'other settings, other predictions'
    )


def test_measures_at_many_scales(tool, checkpoint, tmp_path) -> None:
    said = tool(checkpoint, '--multi-scale', '--work-dir', tmp_path)
    scores = load_json(tmp_path / 'scores/scores.json')
    _, measured, *_ = said.splitlines()  # behind what the look at the data says
    assert measured.startswith(f'miou {scores["miou"]:.2f}  ')
    assert scores['card']['scales'] == [0.75, 1.0] and scores['card']['flip']
    assert scores['card']['split']['images'] == 12
    with (tmp_path / 'scores/classes.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    arrays = load_npz(tmp_path / 'scores/confusion.npz')
    assert [row['class'] for row in rows] == list(arrays['classes'])
    hits, union = np.diag(arrays['confusion']), 0
    union = arrays['confusion'].sum(0) + arrays['confusion'].sum(1) - hits
    for row, hit, either in zip(rows, hits, union, strict=True):
        if either:
            assert float(row['iou']) == pytest.approx(100 * hit / either)
    assert len(list(tmp_path.glob('predictions/*/labels/*.png'))) == 12


def test_a_replaced_photo_is_predicted_anew(tool, checkpoint, world, tmp_path) -> None:
    command = [checkpoint, '--multi-scale', '--work-dir', tmp_path]
    tool(*command)

    def times() -> set[int]:
        labels = tmp_path.glob('predictions/*/labels/*.png')
        return {path.stat().st_mtime_ns for path in labels}

    first = times()
    tool(*command)
    assert times() == first and len(first) == 12, 'not predicted again'
    name = (world / 'VOC2012/ImageSets/Segmentation/val.txt').read_text().split()[3]
    photo = world / f'VOC2012/JPEGImages/{name}.jpg'
    kept = photo.read_bytes()
    save_image(photo, 9, (32, 40))
    tool(*command)
    assert times().isdisjoint(first)
    (noted,) = tmp_path.glob('predictions/*/photos.json')
    noted.unlink()  # as an earlier version left it
    second = times()
    tool(*command)
    assert times() == second and noted.is_file()
    photo.write_bytes(kept)
    tool(*command)
    assert times().isdisjoint(second)


def test_one_scale_agrees_with_the_usual_measure(tool, checkpoint, tmp_path) -> None:
    """At one scale without mirror image both ways to test give the same mIoU."""
    usual = tool(checkpoint).splitlines()[1]
    found = dict(zip(*[iter(usual.split())] * 2, strict=True))
    options = [*SMALL[:3], 'prediction.scales=(1.0,)', 'prediction.flip=False']
    said = tool(
        checkpoint, '--multi-scale', '--work-dir', tmp_path, options=options
    ).splitlines()
    assert said[1].startswith('miou ')
    per_class = load_json(tmp_path / 'scores/scores.json')['iou']
    known = [iou for iou in per_class if iou is not None]
    assert float(found['seg/mIoU']) == pytest.approx(np.mean(known), abs=0.02)


def ask(refused, world: Path, *arguments: object) -> str:
    options = ['--data-root', world / 'VOC2012', '--cfg-options', *SMALL]
    return refused('test.py', CONFIG, *arguments, *options)


def test_mistakes(refused, world, checkpoint, tmp_path) -> None:
    out, work = tmp_path / 'x.tar.gz', ['--work-dir', tmp_path / 'work']
    write = [checkpoint, '--format-only', *work]
    assert ask(refused, world) == (
        'name a checkpoint: weights.safetensors or resume.pth'
    )
    assert '--format-only needs --out FILE.tar.gz' in ask(refused, world, *write)
    said = ask(refused, world, *write, '--out', tmp_path / 'x.zip')
    assert said.endswith(f"needs --out FILE.tar.gz, not '{tmp_path / 'x.zip'}'")
    said = ask(refused, world, *write, '--out', out, '--competition', 4)
    assert 'competition must be 5 or 6, not 4' in said
    said = ask(refused, world, *write, '--out', out, '--split', 'tset')
    assert 'tset.txt does not exist: lists there are test, train, trainval' in said
    said = ask(refused, world, 'gone.pth', '--format-only', '--out', out, *work)
    assert said == 'checkpoint gone.pth does not exist'
    said = ask(refused, world, '--check', out)
    assert said == f'archive {out} does not exist'
    assert not out.exists()


def test_an_incomplete_prediction_is_refused(
    tool, refused, world, checkpoint, tmp_path
):
    """A photo that came after the archive makes it incomplete."""
    out = tmp_path / 'x.tar.gz'
    tool(checkpoint, '--format-only', '--out', out, '--work-dir', tmp_path)
    lists = world / 'VOC2012/ImageSets/Segmentation'
    name = (lists / 'val.txt').read_text().split()[-1]
    (lists / 'more.txt').write_text((lists / 'test.txt').read_text() + name)
    said = ask(refused, world, '--check', out, '--split', 'more')
    assert said.startswith(f"{out} holds 5 of 6 test images: '{name}' is missing")


def test_the_server_is_that_of_voc(refused, tmp_path) -> None:
    config = tiny.ROOT / 'configs/deeplabv2/coco_r101.py'
    said = refused('test.py', config, 'x', '--format-only', '--out', 'x.tar.gz')
    assert 'the test server is that of Pascal VOC: the images of this config' in said
    assert said.endswith('are of COCO14')
