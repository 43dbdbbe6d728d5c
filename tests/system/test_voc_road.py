"""From the archives of VOC and SBD to val mIoU and the test server's archive."""

from __future__ import annotations

import hashlib
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
from archive_trees import annotation, pack_tar, sbd_mat
from PIL import Image

from wsss_plugins.datasets.synthetic import SyntheticSpec
from wsss_plugins.datasets.synthetic.scene import render_scene
from wsss_plugins.datasets.voc12 import VOC_CLASSES
from wsss_plugins.stages import submission
from wsss_plugins.structures import load_json, save_label_map

CONFIG = tiny.ROOT / 'configs/acr/voc_miniature_pipeline.py'
SPEC = SyntheticSpec(size=(32, 40))
SPLITS = dict(train=12, val=8, test=4)
SBD_ONLY = 6


def write_archives(folder: Path) -> tuple[Path, Path, Path]:
    """What a user downloads: trainval and test of VOC, and SBD, with drawn scenes."""
    voc, test = folder / 'a/VOCdevkit/VOC2012', folder / 'b/VOCdevkit/VOC2012'
    sbd = folder / 'benchmark_RELEASE/dataset'
    names: dict[str, list[str]] = {}
    for number, (split, count) in enumerate({**SPLITS, 'sbd': SBD_ONLY}.items()):
        names[split] = [f'200{number + 7}_{i:06d}' for i in range(count)]
        for i, name in enumerate(names[split]):
            scene = render_scene(SPEC, 'train', 100 * number + i)
            photo = Image.fromarray(scene.image)
            root = test if split == 'test' else voc
            (root / 'JPEGImages').mkdir(parents=True, exist_ok=True)
            photo.save(root / f'JPEGImages/{name}.jpg')
            if split == 'test':
                continue
            present = [
                VOC_CLASSES[c - 1] for c in np.unique(scene.label) if 0 < c < 255
            ]
            xml = root / f'Annotations/{name}.xml'
            xml.parent.mkdir(exist_ok=True)
            xml.write_text(annotation([(c, 0) for c in present]))
            if split == 'sbd':
                (sbd / 'cls').mkdir(parents=True, exist_ok=True)
                mask = np.where(scene.label == 255, 0, scene.label)
                (sbd / f'cls/{name}.mat').write_bytes(sbd_mat(mask.astype(np.uint8)))
            else:
                save_label_map(root / f'SegmentationClass/{name}.png', scene.label)
    for root, splits in ((voc, ('train', 'val')), (test, ('test',))):
        lists = root / 'ImageSets/Segmentation'
        lists.mkdir(parents=True)
        for split in splits:
            (lists / f'{split}.txt').write_text('\n'.join(names[split]))
    for split, ids in dict(train=names['sbd'], val=[]).items():
        (sbd / f'{split}.txt').write_text('\n'.join(ids))
    return (
        pack_tar(voc.parent, folder / 'VOCtrainval_11-May-2012.tar'),
        pack_tar(test.parent, folder / 'VOC2012test.tar'),
        pack_tar(sbd.parent, folder / 'benchmark.tgz', 'w:gz'),
    )


@pytest.mark.slow
def test_from_archives_to_val_miou_and_the_servers_archive(tmp_path, monkeypatch):
    trainval, test, sbd = write_archives(tmp_path)
    out, work = tmp_path / 'VOCdevkit', tmp_path / 'work'
    prepare = [tiny.TOOLS / 'prepare_data.py', 'voc12', trainval, test, '--sbd', sbd]
    tiny.run_python(*prepare, '--any-count', '--out', out)

    ids = (out / 'VOC2012/ImageSets/Segmentation/test.txt').read_text().split()
    official = hashlib.sha256('\n'.join(sorted(ids)).encode()).hexdigest()
    monkeypatch.setattr(submission, 'VOC_TEST_IDS', official)
    cfg = tiny.load_config(CONFIG)
    options = [
        f'pipeline.{stage["name"]}.options={small_options(cfg, stage)!r}'
        for stage in cfg.pipeline
        if 'config' in stage
    ]
    command = ['run_pipeline.py', CONFIG, '--data-root', out / 'VOC2012']
    command += [
        '--work-dir',
        work,
        '--cfg-options',
        *options,
        'pipeline.pseudo.workers=1',
    ]
    monkeypatch.setattr(sys, 'argv', list(map(str, command)))
    runpy.run_path(str(tiny.TOOLS / 'run_pipeline.py'), run_name='__main__')

    tiny.assert_cards_as_before(work, 'voc_miniature')
    scores = load_json(work / 'val_score/scores.json')
    assert 0 < scores['miou'] <= 100
    card = scores['card']
    assert (card['split']['name'], card['split']['images']) == ('val', 8)
    assert [n['supervision'] for n in card['networks']] == ['none', 'none']
    assert [t['source'] for t in card['thresholds']] == ['label-free']
    assert card['labels'] == 'none' and card['pixels'] == []
    archive = work / 'submission/submission.tar.gz'
    sizes = dict.fromkeys(ids, SPEC.size)
    assert submission.check_archive(archive, sizes, 21) == 5


def small_options(cfg, stage) -> dict[str, object]:
    """Overrides that shrink a stage's training, and those of the config."""
    file, options = tiny.training(CONFIG, cfg, stage)
    return {**tiny.small_options(file), **options}
