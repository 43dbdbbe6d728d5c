"""The trees of benchmarks that docs/data.md draws: doctor, look and training agree."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imagenet_trees import (
    GOLDFISH,
    SHARK,
    TENCH,
    make_flat_imagenet,
    make_imagenet,
    make_imagenet_seg,
    save_tiny_vit,
)
from tiny_training import one_epoch
from trees import make_coco, make_voc, square

from wsss_plugins.config import load_config
from wsss_plugins.doctor import examine
from wsss_plugins.experiment import Pipeline
from wsss_plugins.experiment.data_look import look_at_data
from wsss_plugins.experiment.lone_training import LoneTraining
from wsss_plugins.experiment.trial import refuse_mistakes
from wsss_plugins.stages.train import TrainStage

pytestmark = pytest.mark.slow
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


def imagenet(root: Path) -> tuple[Path, dict[str, Any], int]:
    """Folders of classes, as for the classifiers of timm and torchvision."""
    for split, many in (('train', 4), ('val', 2)):
        wnids = [(TENCH, GOLDFISH)[i % 2] for i in range(many)]
        images = {f'{split}_{i}': wnid for i, wnid in enumerate(wnids)}
        make_imagenet(root / 'imagenet', images, split)
    return (
        root / 'imagenet',
        dict(type='ImageNet', data_root=str(root / 'imagenet')),
        1000,
    )


@pytest.mark.parametrize('make', [voc, npz, coco, imagenet])
def test_the_tree_of_the_manual(make, tmp_path: Path) -> None:
    tree, dataset, classes = make(tmp_path)
    assert_nothing_but_a_part(tree)
    splits = ('train2014', 'val2014') if make is coco else ('train', 'val')
    train, val = (dict(dataset, split=split) for split in splits)
    cfg = one_epoch(train, val, classes)
    looks = look_at_data([cfg.to_dict()], everything=True)
    assert [look.problems for look in looks] == [(), ()]
    assert [look.photos for look in looks] == [4, 2]
    assert [look.untagged for look in looks] == [0, 0]
    refuse_mistakes([TrainStage('training', cfg.to_dict())])
    metrics, card = LoneTraining(cfg).run(tmp_path / 'work')
    assert metrics['multilabel/images'] == 2
    assert card is not None


def assert_nothing_but_a_part(tree: Path) -> None:
    """The doctor says that this is a part of a benchmark, and finds no other problem."""
    found = {
        line.split('PROBLEM: ')[1]
        for line in examine([tree]).text().splitlines()
        if 'PROBLEM: ' in line
    }
    of_a_part = ('the official list', 'there is no list train_aug')
    assert found
    assert not [line for line in found if not any(part in line for part in of_a_part)]


def flat(root: Path) -> tuple[Path, dict[str, Any]]:
    """The archive of the validation images as it is, with the development kit."""
    tree = make_flat_imagenet(root / 'imagenet', [SHARK, TENCH, GOLDFISH])
    return tree, dict(type='ImageNet', data_root=str(tree))


def flat_with_two_files(root: Path) -> tuple[Path, dict[str, Any]]:
    """The two files of the development kit that are read, beside the folder val."""
    tree, dataset = flat(root)
    for file in (tree / 'ILSVRC2012_devkit_t12/data').iterdir():
        file.rename(tree / file.name)
    shutil.rmtree(tree / 'ILSVRC2012_devkit_t12')
    return tree, dataset


def sorted_val(root: Path) -> tuple[Path, dict[str, Any]]:
    """The validation images alone, in folders of classes."""
    tree = make_imagenet(root / 'imagenet', dict(a=SHARK, b=TENCH, c=GOLDFISH))
    return tree, dict(type='ImageNet', data_root=str(tree))


def segmentation(root: Path) -> tuple[Path, dict[str, Any]]:
    """The one file of ImageNet-Segmentation."""
    tree = root / 'imagenet_seg'
    make_imagenet_seg(tree / 'gtsegs_ijcv.mat', dict(a=SHARK, b=TENCH, c=GOLDFISH))
    return tree, dict(type='ImageNetSeg', data_root=str(tree), label_maps='gt')


@pytest.mark.parametrize('make', [flat, flat_with_two_files, sorted_val, segmentation])
def test_the_trees_that_explanations_are_tested_on(make, tmp_path: Path) -> None:
    tree, dataset = make(tmp_path)
    assert_nothing_but_a_part(tree)
    kind = 'Segmentation' if make is segmentation else 'Perturbation'
    test = dict(
        type=f'{kind}TestStage',
        name='test',
        model=save_tiny_vit(tmp_path / 'vit.safetensors', num_classes=1000),
        methods=dict(rollout=dict(type='AttentionRollout')),
        dataset=dataset,
        input_size=(32, 32),
    )
    config, work = tmp_path / 'mine.py', tmp_path / 'work'
    config.write_text(f'pipeline = [{test!r}]\n')
    pipeline = Pipeline(load_config(config))
    (look,) = pipeline.look(pipeline.steps, work, everything=True)
    assert (look.photos, look.untagged) == (3, 0)
    assert look.problems == look.doubts == ()
    pipeline.refuse_mistakes(pipeline.steps, work)
    assert {f.state for f in pipeline.examine(work).values()} == {'new'}
    record = pipeline.run(work)['test']
    assert record.metrics['images'] == 3
