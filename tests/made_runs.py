"""Work dirs of small pipelines that ran: label maps and seeds from folders, measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from trees import save_image

from wsss_plugins.datasets import VOC12
from wsss_plugins.experiment import Pipeline
from wsss_plugins.report import ErrorStage
from wsss_plugins.stages import EvaluateLabelStage, EvaluateSeedStage, FolderStage
from wsss_plugins.structures import Seed, save_label_map

SIZE = (40, 60)
OBJECTS = {'a': ['cat'], 'b': ['dog'], 'c': ['cat', 'dog'], 'd': ['cat']}
CLASSES = ('cat', 'dog', 'sofa')


def truth_of(name: str) -> np.ndarray:
    """A cat on the left, a dog on the right, each with an ignored column beside it."""
    mask = np.zeros(SIZE, np.uint8)
    if 'cat' in OBJECTS[name]:
        mask[8:30, 5:20], mask[8:30, 20] = 1, 255
    if 'dog' in OBJECTS[name]:
        mask[10:35, 30:50], mask[10:35, 50] = 2, 255
    return mask


def make_data(root: Path) -> dict[str, Any]:
    """Four photos with masks; the config of the data set."""
    (root / 'ImageSets/Segmentation').mkdir(parents=True)
    (root / 'Annotations').mkdir()
    (root / 'classes.txt').write_text('\n'.join(CLASSES) + '\n')
    (root / 'ImageSets/Segmentation/train.txt').write_text('\n'.join(OBJECTS) + '\n')
    for i, (name, classes) in enumerate(OBJECTS.items()):
        save_image(root / f'JPEGImages/{name}.jpg', i, SIZE)
        save_label_map(root / f'SegmentationClass/{name}.png', truth_of(name))
        found = ''.join(f'<object><name>{c}</name></object>' for c in classes)
        xml = f'<annotation>{found}</annotation>'
        (root / f'Annotations/{name}.xml').write_text(xml)
    return dict(
        type=VOC12,
        data_root=str(root),
        split='train',
        label_maps='SegmentationClass',
        test_mode=True,
    )


def make_files(folder: Path, shift: int) -> Path:
    """Label maps and seeds that are the truth, moved to the right; 'd' misses its cat."""
    for name in OBJECTS:
        made = np.roll(np.where(truth_of(name) == 255, 0, truth_of(name)), shift, 1)
        if name == 'd':
            made[:] = 0
        if name == 'b':
            made[made == 2] = 1  # a dog taken for a cat, which is not tagged
        save_label_map(folder / f'labels/{name}.png', made)
        classes = [CLASSES.index(c) for c in OBJECTS[name]]
        scores = np.stack([0.8 * (made == c + 1) + 0.1 for c in classes])
        seed = Seed(torch.tensor(scores, dtype=torch.float32), torch.tensor(classes))
        seed.save(folder / f'seeds/{name}.npz')
    return folder


def run_pipeline(
    work_dir: Path, data: dict[str, Any], files: Path, seed: int = 0, **options: Any
) -> Path:
    """Runs stages that measure the label maps and seeds of a folder."""
    stages = [
        dict(
            type=FolderStage, name='pseudo', path=str(files / 'labels'), holds='labels'
        ),
        dict(
            type=EvaluateLabelStage, name='pseudo_score', labels='pseudo', dataset=data
        ),
        dict(type=FolderStage, name='maps', path=str(files / 'seeds')),
        dict(type=EvaluateSeedStage, name='maps_score', seeds='maps', dataset=data),
        dict(type=ErrorStage, name='errors', source='pseudo', dataset=data, **options),
    ]
    config = work_dir.parent / 'made_pipeline.py'
    config.parent.mkdir(parents=True, exist_ok=True)
    config.touch()
    cfg = Config(dict(pipeline=stages, seed=seed), filename=str(config))
    Pipeline(cfg).run(work_dir)
    return work_dir
