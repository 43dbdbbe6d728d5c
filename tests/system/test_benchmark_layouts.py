"""The trees of VOC and COCO that docs/data.md draws: doctor, look and training agree."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.config import Config
from trees import make_coco, make_voc, square

from wsss_plugins.doctor import examine
from wsss_plugins.experiment.data_look import look_at_data
from wsss_plugins.experiment.lone_training import LoneTraining
from wsss_plugins.experiment.trial import refuse_mistakes
from wsss_plugins.stages.train import TrainStage

pytestmark = pytest.mark.slow
BACKBONE = dict(
    type='TimmViT', img_size=16, patch_size=8, embed_dim=8, depth=1, num_heads=2
)
TRAIN = {f'a{i}': ['aeroplane', 'bicycle'][i % 2 : i % 2 + 1] for i in range(4)}
VAL = {f'b{i}': ['aeroplane', 'bicycle'][i % 2 : i % 2 + 1] for i in range(2)}


def voc(root: Path) -> tuple[Path, dict[str, Any], int]:
    """The devkit with two lists; the folder that the doctor is given holds VOC2012."""
    tree = make_voc(root / 'VOCdevkit/VOC2012', TRAIN | VAL)
    lists = tree / 'ImageSets/Segmentation'
    for split, names in (('train', TRAIN), ('val', VAL)):
        (lists / f'{split}.txt').write_text(''.join(f'{name}\n' for name in names))
    return tree, dict(type='VOC12', data_root=str(tree)), 20


def npz(root: Path) -> tuple[Path, dict[str, Any], int]:
    """A part of VOC without Annotations, whose labels are one table."""
    tree, dataset, classes = voc(root)
    names = [*TRAIN, *VAL]
    labels = np.zeros((len(names), 20), np.uint8)
    for row, found in zip(labels, (TRAIN | VAL).values(), strict=True):
        row[['aeroplane', 'bicycle'].index(found[0])] = 1
    np.savez(tree / 'cls_labels.npz', names=np.array(names), labels=labels)
    shutil.rmtree(tree / 'Annotations')
    return tree, dataset, classes


def coco(root: Path) -> tuple[Path, dict[str, Any], int]:
    """Annotations and photos of train2014 and val2014."""
    for split, many in (('train2014', 4), ('val2014', 2)):
        part = root / split
        images = [f'COCO_{split}_{i:012d}.jpg' for i in range(1, many + 1)]
        annotations = [square((1, 2)[i % 2], i, id=i) for i in range(1, many + 1)]
        make_coco(part, images, annotations)
        tree = root / 'coco'
        (tree / 'annotations').mkdir(parents=True, exist_ok=True)
        shutil.move(
            part / 'annotations/instances_train2014.json',
            tree / f'annotations/instances_{split}.json',
        )
        shutil.move(part / 'train2014', tree / split)
    return tree, dict(type='COCO14', data_root=str(tree)), 80


@pytest.mark.parametrize('make', [voc, npz, coco])
def test_the_tree_of_the_manual(make, tmp_path: Path) -> None:
    tree, dataset, classes = make(tmp_path)
    found = {
        line.split('PROBLEM: ')[1]
        for line in examine([tree]).text().splitlines()
        if 'PROBLEM: ' in line
    }
    # A part of a benchmark is not the benchmark, and that is all there is to say.
    of_a_part = ('the official list', 'there is no list train_aug')
    assert found
    assert not [line for line in found if not any(part in line for part in of_a_part)]
    splits = ('train2014', 'val2014') if make is coco else ('train', 'val')
    load, pack = dict(type='LoadCrop', size=16), dict(type='PackClassInputs')
    loader: dict[str, Any] = dict(batch_size=2, num_workers=0)
    train, val = (dict(dataset, split=s, pipeline=[load, pack]) for s in splits)
    cfg = Config(
        dict(
            model=dict(
                type='WSSSClassifier',
                backbone=BACKBONE,
                head=dict(type='TokenHead', num_classes=classes),
            ),
            train_dataloader=dict(
                loader,
                sampler=dict(type='DefaultSampler', shuffle=True),
                dataset=train,
            ),
            val_dataloader=dict(
                loader,
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dict(val, test_mode=True),
            ),
            val_evaluator=dict(type='MultiLabelAP'),
            val_cfg=dict(),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(
                type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01)
            ),
        )
    )
    looks = look_at_data([cfg.to_dict()], everything=True)
    assert [look.problems for look in looks] == [(), ()]
    assert [look.photos for look in looks] == [4, 2]
    assert [look.untagged for look in looks] == [0, 0]
    refuse_mistakes([TrainStage('training', cfg.to_dict())])
    metrics, card = LoneTraining(cfg).run(tmp_path / 'work')
    assert metrics['multilabel/images'] == 2
    assert card is not None
