"""The pages on data of one's own and of other projects, run as they stand there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_how_to import DRIVER, Ran, commands, how_to, make_checkout, write_files
from trees import half_mask

from wsss_plugins.datasets.synthetic import SyntheticSpec, render_scene
from wsss_plugins.structures import Seed, load_label_map, save_label_map

PAGES = ('bring_your_own_data', 'exchange_pseudo_labels')
CLASSES = ('bird', 'nest')
SMALL = dict(
    type='TimmViT', stem='conv', img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2
)  # fmt: skip
LOADER = 'train_dataloader.num_workers'
CLASSIFIER = {
    'model.backbone': SMALL, 'train_cfg.max_epochs': 1, LOADER: 0,
    'val_dataloader.num_workers': 0,
}  # fmt: skip
SEGMENTOR = {
    'model.backbone.backbone': SMALL, 'model.decode_head.in_channels': 24,
    'train_cfg.max_epochs': 1, LOADER: 0,
}  # fmt: skip
IDS = {'a': (1, 2), 'b': (0,), 'c': ()}
"""Classes of the photos of the other pages."""


def make_photos(folder: Path) -> None:
    """Twelve photos in two folders, a table of a spreadsheet, and masks of six."""
    rows = []
    for i in range(12):
        scene = render_scene(SyntheticSpec(size=(48, 64)), 'train', i)
        name = f'day {1 + i // 6}/IMG_{1 + i % 6}'
        path = folder / f'images/{name}.JPG'
        path.parent.mkdir(parents=True, exist_ok=True)
        size = (640, 480) if i == 3 else (128, 96)  # one of them is large
        Image.fromarray(scene.image).resize(size).save(path, 'JPEG')
        tags = [CLASSES[k] for k in range(2) if (i + 1) >> k & 1]
        rows.append(f'{name}.JPG;{", ".join(tags)};{"train" if i % 3 else "val"}')
        if i % 2:
            mask = np.repeat(half_mask(len(tags), (48, 64)), size[0] // 64, 0)
            mask = np.repeat(mask, size[0] // 64, 1)
            save_label_map(folder / f'masks/{name}.png', mask)
    table = '\r\n'.join(['file;tags;split', *rows])
    (folder / 'photos.csv').write_text(table, 'utf-8-sig')


def make_theirs(folder: Path) -> None:
    """What the other projects leave, written as they do, for the photos of data/photos."""
    rng = np.random.default_rng(0)
    size, strided = (96, 160), (24, 40)
    for kind in ('cams', 'psa', 'crf', 'seam', 'mctformer', 'acr', 'labels'):
        (folder / f'their_{kind}').mkdir()
    for name, ids in IDS.items():
        maps = rng.random((len(ids), *size), np.float32)
        low = torch.from_numpy(rng.random((len(ids), *strided), np.float32))
        keys = torch.tensor(ids, dtype=torch.int64)
        irn = {'keys': keys, 'cam': low, 'high_res': maps}
        np.save(folder / f'their_cams/{name}.npy', irn)
        by_class = dict(zip(ids, maps, strict=True))
        for kind in ('psa', 'seam', 'mctformer', 'acr'):
            np.save(folder / f'their_{kind}/{name}.npy', by_class)
        crf = {0: np.full(size, 0.4)} | {c + 1: m for c, m in by_class.items()}
        np.save(folder / f'their_crf/{name}.npy', crf)
        label = half_mask(ids[0] + 1 if ids else 0, size)
        Image.fromarray(label % 255).save(folder / f'their_labels/{name}.png')
        save_label_map(folder / f'data/photos/masks/{name}.png', label)


@pytest.fixture(scope='module')
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Writes the files of both pages and runs their commands."""
    folder = tmp_path_factory.mktemp('checkout')
    make_checkout(folder)
    make_photos(folder / 'my_photos')
    make_theirs(folder)
    lines = {page: commands(how_to(page)) for page in PAGES}
    own = lines[PAGES[0]]
    for i, line in enumerate(own):
        if 'with_masks' in line:
            own[i] = f'{line} {small(0, 3, 5)}'
        elif (
            '--cfg-options' not in line
            and 'run_pipeline' in line
            and 'mine' not in line
        ):
            own[i] = f'{line} {small(0, 2, 3)}'
    for page in PAGES:
        write_files(how_to(page), folder)
    shrink(folder / 'configs/mine/colony_pipeline.py')
    exchange = lines[PAGES[1]]
    for i, stage in ((0, 4), (2, 2)):
        assert re.search('their_(cams|labels)_pipeline', exchange[i])
        exchange[i] += f' --cfg-options "pipeline.{stage}.options={SEGMENTOR}"'
    own[-1] += ' --dry-run'
    environment = {'PYTHONPATH': '.', 'OMP_NUM_THREADS': '1', 'COLUMNS': '200'}
    done = subprocess.run(
        [
            sys.executable,
            '-c',
            DRIVER,
            json.dumps([c for p in PAGES for c in lines[p]]),
        ],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f'{done.stdout}\n{done.stderr}'
    outputs = iter(done.stdout.split('$ ')[1:])
    return Ran(folder, {page: [next(outputs) for _ in lines[page]] for page in PAGES})


def small(classifier: int, refine: int, segmentor: int) -> str:
    """Options that train small networks for one round, without further processes."""
    return (
        f'--cfg-options "pipeline.{classifier}.options={CLASSIFIER}" '
        f'"pipeline.{segmentor}.options={SEGMENTOR}" pipeline.{refine}.workers=1'
    )


def shrink(config: Path) -> None:
    """Small networks in a pipeline config with options of its own."""
    more = (
        f'pipeline.classifier.options = dict(own_size, **{CLASSIFIER})\n'
        f'pipeline.segmentor.options = dict(own_size, **{SEGMENTOR})\n'
    )
    more += 'pipeline.pseudo.workers = 1\n'
    config.write_text(config.read_text('utf-8') + more, 'utf-8')


@pytest.mark.slow
def test_a_folder_of_photos(ran: Ran) -> None:
    plan, first, counted, scored, colony, scratch = ran.printed[PAGES[0]]
    assert plan.count(' new ') == 6 and scratch.count(' changed ') == 6
    assert 'work_dirs/folder/pipeline/report/report.html' in first
    lines = counted.strip().splitlines()[1:]
    assert len(lines) == 12 and lines[0].startswith('day 1/IMG_1 background ')
    for line in lines:
        shares = [float(share) for share in re.findall(r'([\d.]+) %', line)]
        assert sum(shares) == pytest.approx(100, abs=0.2)
    assert 'maps_score' in scored and 'colony_pipeline/report/report.html' in colony
    folder = ran.folder / 'work_dirs/folder'
    for stage in ('pseudo', 'prediction'):
        for i in range(12):
            name = f'labels/day {1 + i // 6}/IMG_{1 + i % 6}.png'
            label = load_label_map(folder / 'pipeline' / stage / name, 3)
            assert label.shape == ((480, 640) if i == 3 else (96, 128))
            masked = folder / 'pipeline_with_masks' / stage / name
            assert (
                masked.read_bytes() == (folder / 'pipeline' / stage / name).read_bytes()
            )


@pytest.mark.slow
def test_masks_measure_and_nothing_else(ran: Ran) -> None:
    page = (ran.folder / 'work_dirs/folder/pipeline/report/report.html').read_text()
    assert 'ground truth' not in page.split('Gallery')[1] and 'CAM: bird' in page
    for name in ('maps_score', 'pseudo_score', 'prediction_score'):
        record = ran.record('folder/pipeline_with_masks', name)
        assert 0 <= record.metrics.get('miou', record.metrics.get('best_miou')) <= 100
    page = ran.folder / 'work_dirs/folder/pipeline_with_masks/report/report.html'
    assert 'ground truth' in page.read_text()


@pytest.mark.slow
def test_large_photos_in_tiles(ran: Ran) -> None:
    made = ran.record('mine/colony_pipeline', 'maps').provenance
    assert made['tiles'] == '512 px, overlapping by 64'
    predicted = ran.record('mine/colony_pipeline', 'prediction').provenance
    assert predicted['tiles'] == made['tiles'] and 'working_size' not in predicted
    label = (
        ran.folder / 'work_dirs/mine/colony_pipeline/prediction/labels/day 1/IMG_4.png'
    )
    assert load_label_map(label).shape == (480, 640)


@pytest.mark.slow
def test_files_of_other_projects(ran: Ran) -> None:
    work = ran.folder / 'work_dirs/mine'
    for name, ids in IDS.items():
        theirs = np.load(
            ran.folder / f'their_cams/{name}.npy', **{'allow_pickle': True}
        )
        cams = Seed.load(work / f'their_cams_pipeline/cams/seeds/{name}.npz')
        assert cams.classes.tolist() == list(ids)
        assert (cams.scores.numpy() == theirs.item()['high_res']).all()
        for stage in ('psa', 'seam', 'mctformer', 'acr', 'crf'):
            seed = Seed.load(work / f'other_cams_pipeline/{stage}/seeds/{name}.npz')
            assert (seed.scores == cams.scores).all()
            assert (seed.background is not None) is (stage == 'crf')
        label = load_label_map(work / f'their_labels_pipeline/labels/labels/{name}.png')
        assert set(np.unique(label)) == ({0, ids[0] + 1} if ids else {0})
    for pipeline, stage in (
        ('their_cams', 'cams_score'),
        ('their_labels', 'labels_score'),
    ):
        record = ran.record(f'mine/{pipeline}_pipeline', stage)
        assert record.metrics.get('miou', record.metrics.get('best_miou')) > 0
        assert ran.record(f'mine/{pipeline}_pipeline', 'segmentor').done


@pytest.mark.slow
def test_files_for_other_projects(ran: Ran) -> None:
    for name, ids in IDS.items():
        cams = Seed.load(
            ran.folder / f'work_dirs/mine/their_cams_pipeline/cams/seeds/{name}.npz'
        )
        ours, irn = (
            np.load(ran.folder / f'{place}/{name}.npy', **{'allow_pickle': True}).item()
            for place in ('ours_for_mctformer', 'psa_for_irn')
        )
        assert list(ours) == list(ids) == irn['keys'].tolist()
        for c, scores in zip(ids, cams.scores.numpy(), strict=True):
            assert (ours[c] == scores).all()
        assert (
            irn['cam'].shape == (len(ids), 24, 40)
            and (irn['high_res'] == cams.scores.numpy()).all()
        )
