"""A tiny experiment from seeds to scores, and its results computed a second time.

The second computation is in numpy, from the files that are there, and shares no code with
the package.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from trees import make_voc

CLASSES = ('bird', 'nest')
TAGS = {
    'a': ['bird'], 'b': ['nest'], 'c': ['bird', 'nest'], 'd': [], 'e': ['bird'],
    'f': ['nest'],
}  # fmt: skip
SIZE = (6, 10)
THRESHOLD = 0.4
USUAL = 0.39
"""The threshold of a background where a config gives none."""


@dataclass(frozen=True)
class Bench:
    """The folders of the experiment.

    Attributes:
        place: The folder of all.
    """

    place: Path

    @property
    def data(self) -> Path:
        """The data set, in the layout of VOC."""
        return self.place / 'data'

    @property
    def seeds(self) -> Path:
        """The seeds, as another program made them."""
        return self.place / 'seeds'

    @property
    def work(self) -> Path:
        """The work dir."""
        return self.place.parent / 'work'

    @property
    def file(self) -> Path:
        """The config, outside of the folders that commands only read."""
        return self.place.parent / 'config.py'

    def config(self) -> dict[str, Any]:
        """The content of the config."""
        images = dict(type='VOC12', data_root=str(self.data), split='train')
        refiners = [dict(type='ConstantBackground', threshold=THRESHOLD)]
        return dict(
            datasets=dict(
                images=images,
                masks=dict(images, label_maps='SegmentationClass', test_mode=True),
            ),
            pipeline=dict(
                maps=dict(type='FolderStage', path=str(self.seeds)),
                pseudo=dict(
                    type='RefineStage', seeds='maps', dataset='images', workers=1,
                    refiners=refiners,
                ),
                sweep=dict(type='EvaluateSeedStage', seeds='maps', dataset='masks'),
                score=dict(type='EvaluateLabelStage', labels='pseudo', dataset='masks'),
            ),
        )  # fmt: skip

    def training(self) -> dict[str, Any]:
        """Another config: one epoch of a network of a few hundred weights."""
        backbone = dict(
            type='TimmViT', img_size=16, patch_size=8, embed_dim=8, depth=1, num_heads=2
        )
        steps = [dict(type='LoadCrop', size=16), dict(type='PackClassInputs')]
        images = dict(
            type='VOC12', data_root=str(self.data), split='train', pipeline=steps
        )
        loader = dict(batch_size=3, num_workers=0)
        head = dict(type='TokenHead', num_classes=2)
        return dict(
            model=dict(type='WSSSClassifier', backbone=backbone, head=head),
            train_dataloader=dict(
                loader,
                sampler=dict(type='DefaultSampler', shuffle=True),
                dataset=images,
            ),
            val_dataloader=dict(
                loader,
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dict(images, test_mode=True),
            ),
            val_evaluator=dict(type='MultiLabelAP'),
            val_cfg=dict(),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(
                type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01)
            ),
            param_scheduler=[
                dict(type='PolyLR', power=0.9, eta_min=0, begin=0, end=1.0)
            ],
            custom_hooks=[],
        )

    def write(self, content: dict[str, Any] | None = None) -> Path:
        """Writes the config, or another content of it."""
        content = self.config() if content is None else content
        lines = [f'{key} = {value!r}\n' for key, value in content.items()]
        head = "nan, inf = float('nan'), float('inf')\n"
        self.file.write_text(head + ''.join(lines) + 'del nan, inf\n')
        return self.file

    def command(self, *options: str) -> list[object]:
        """The words behind ``run_pipeline.py``."""
        words: list[object] = [self.write(), '--work-dir', self.work]
        return [*words, *(['--cfg-options', *options] if options else [])]


def make_bench(place: Path) -> None:
    """Writes data set and seeds of the experiment into a folder."""
    root = make_voc(place / 'data', TAGS)
    (root / 'classes.txt').write_text(''.join(f'{name}\n' for name in CLASSES))
    (place / 'seeds').mkdir()
    rng = np.random.default_rng(0)
    for name, tags in TAGS.items():
        scores = rng.random((len(tags), *SIZE), dtype=np.float32)
        classes = np.array([CLASSES.index(tag) for tag in tags], np.int64)
        np.savez(place / 'seeds' / f'{name}.npz', scores=scores, classes=classes)


def wrong_results(bench: Bench) -> list[str]:
    """What is wrong with the results in the work dir; nothing for those that are not there."""
    wrong = []
    if not any(bench.work.glob('*/record.json')):
        return []
    record = _record(bench.work / 'pseudo')
    failed = _json(bench.work / 'pseudo/failures.json') or {}
    ids = _ids(bench)
    if record.get('done'):
        threshold = record['metrics'].get('threshold', USUAL)
        wrong += _wrong_labels(bench, threshold)
        there = {path.stem for path in (bench.work / 'pseudo/labels').glob('*.png')}
        if there != set(ids) - set(failed):
            wrong.append(f'label maps of {there}, failures of {set(failed)}')
        if record['metrics']['failed'] != len(failed):
            wrong.append(f'{record["metrics"]["failed"]} failures are counted')
    if wrong:
        return wrong
    kept = [name for name in ids if name not in failed]
    for stage, key in (('score', 'miou'), ('sweep', 'best_miou')):
        record = _record(bench.work / stage)
        if record.get('done'):
            names = kept if stage == 'score' else ids
            expected = _miou(bench, names, record['metrics'].get('best_threshold'))
            if abs(record['metrics'][key] - expected) > 1e-3:
                wrong.append(f'{stage}: {record["metrics"][key]} is not {expected}')
    return wrong


def _ids(bench: Bench) -> list[str]:
    """The ids in the list of the data set, in its order."""
    path = bench.data / 'ImageSets/Segmentation/train.txt'
    return path.read_text('utf-8-sig').split() if path.is_file() else []


def _record(folder: Path) -> dict[str, Any]:
    return _json(folder / 'record.json') or {}


def _json(path: Path) -> Any:
    return json.loads(path.read_text()) if path.is_file() else None


def _seed(bench: Bench, name: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(bench.seeds / f'{name}.npz', allow_pickle=False) as arrays:
        return arrays['scores'].astype(np.float32), arrays['classes'].astype(int)


def _winners(scores: np.ndarray, classes: np.ndarray, threshold: float) -> np.ndarray:
    """The label of the strongest class above a threshold, else 0."""
    floor = np.full((1, *scores.shape[1:]), threshold, np.float32)
    best = np.concatenate([floor, scores]).argmax(0)
    return np.concatenate([[0], classes + 1])[best]


def _wrong_labels(bench: Bench, threshold: float) -> list[str]:
    wrong = []
    for path in sorted((bench.work / 'pseudo/labels').glob('*.png')):
        scores, classes = _seed(bench, path.stem)
        low = scores.min((1, 2), keepdims=True, initial=np.inf)
        high = scores.max((1, 2), keepdims=True, initial=-np.inf)
        scores = (scores - low) / (high - low + np.float32(1e-6))
        with Image.open(path) as image:
            found = np.array(image)
        near = (abs(scores - threshold) < 1e-5).any(0)
        if (found != _winners(scores, classes, threshold))[~near].any():
            wrong.append(f'the label map of {path.stem} is not that of its seed')
    return wrong


def _miou(bench: Bench, names: list[str], threshold: float | None) -> float:
    """The mIoU in percent of label maps, or of seeds at a threshold; absent classes are 0."""
    hits, either = np.zeros(1 + len(CLASSES)), np.zeros(1 + len(CLASSES))
    for name in names:
        with Image.open(bench.data / f'SegmentationClass/{name}.png') as image:
            mask = np.array(image).astype(int)
        if threshold is None:
            with Image.open(bench.work / f'pseudo/labels/{name}.png') as image:
                found = np.array(image).astype(int)
        else:
            found = _winners(*_seed(bench, name), threshold)
        counted = mask != 255
        for label in range(1 + len(CLASSES)):
            one, other = (found == label) & counted, mask == label
            hits[label] += (one & other).sum()
            either[label] += (one | other).sum()
    return 100 * float(np.mean(hits / np.maximum(either, 1)))
