"""A folder of photos as people have them, through the tool, with and without masks."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

from wsss_plugins.datasets.synthetic import SyntheticSpec, render_scene
from wsss_plugins.engine import StageRecord
from wsss_plugins.structures import Seed, load_json, load_label_map, save_label_map

CONFIGS = tiny.ROOT / 'configs/folder'
BACKBONE = dict(
    type='TimmViT', stem='conv', img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2
)  # fmt: skip
QUICK = {'train_cfg.max_epochs': 1, 'train_dataloader.num_workers': 0}
CLASSIFIER = QUICK | {'model.backbone': BACKBONE, 'val_dataloader.num_workers': 0}
SEGMENTOR = QUICK | {
    'model.backbone.backbone': BACKBONE, 'model.decode_head.in_channels': 24,
}  # fmt: skip
LARGE = 'Gänse/DSC 07'
SIZES = {LARGE: (900, 1200), 'Möwen/DSC 02': (60, 31)}
NESTED = (96, 128)


def write_photos(root: Path) -> Path:
    """Sixteen photos in two folders with umlauts, and an Excel table of their columns."""
    lines = ['Nr;file;Gans;Möwe;split']
    for i in range(16):
        name = f'{"Gänse" if i < 8 else "Möwen"}/DSC {i % 8:02d}'
        size = SIZES.get(name, NESTED)
        scene = render_scene(SyntheticSpec(size=(48, 64)), 'train', i)
        path = root / f'images/{name}.JPG'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene.image).resize(size[::-1]).save(path, 'JPEG')
        shown = ('x' if i < 8 else '', '1' if i >= 7 else '0')
        split = 'val' if i % 4 == 3 else 'train'
        # Excel's path has a backslash, another suffix and other capitals.
        lines.append(
            f'{i};{name}.jpg'.replace('/', '\\') + f';{shown[0]};{shown[1]};{split}'
        )
    (root / 'Bestand 2024.csv').write_text('\r\n'.join(lines), 'cp1252')
    (root / 'classes.txt').write_text('Gans\nMöwe\n', 'utf-8')
    return root


def write_masks(root: Path) -> Path:
    """Of four photos, two of each split; they do not show what the networks saw."""
    for name in ('Gänse/DSC 00', 'Gänse/DSC 03', 'Möwen/DSC 02', 'Möwen/DSC 03'):
        mask = np.zeros(SIZES.get(name, NESTED), np.uint8)
        mask[10:40, 5:25] = 1 if name.startswith('G') else 2
        mask[0] = 255
        save_label_map(root / f'masks/{name}.png', mask)
    return root


def arguments(config: str, root: Path, work_dir: Path, *options: str) -> list[str]:
    """The command line; networks are small and refining needs no further process."""
    with_masks = config == 'pipeline_with_masks'
    refine, segmentor = (3, 5) if with_masks else (2, 3)
    return [
        str(CONFIGS / f'{config}.py'), '--data-root', str(root), '--work-dir', str(work_dir),
        '--cfg-options', f'pipeline.0.options={CLASSIFIER}',
        f'pipeline.{segmentor}.options={SEGMENTOR}', f'pipeline.{refine}.workers=1', *options,
    ]  # fmt: skip


@pytest.fixture(scope='module')
def photos(tmp_path_factory) -> Path:
    return write_photos(tmp_path_factory.mktemp('my photos'))


@pytest.fixture(scope='module')
def finished(photos, tmp_path_factory) -> Path:
    """The work dir of the pipeline without masks."""
    work_dir = tmp_path_factory.mktemp('work') / 'no masks'
    done = tiny.run_python(
        tiny.TOOLS / 'run_pipeline.py', *arguments('pipeline', photos, work_dir)
    )
    assert 'report.html' in done.stdout
    return work_dir


def names() -> list[str]:
    return [f'{"Gänse" if i < 8 else "Möwen"}/DSC {i % 8:02d}' for i in range(16)]


def metrics(work_dir: Path, stage: str) -> dict:
    record = StageRecord.load(work_dir / stage)
    assert record is not None and record.done
    return record.metrics


@pytest.mark.slow
def test_every_photo_has_a_mask_in_its_size(finished) -> None:
    for stage in ('pseudo', 'prediction'):
        for name in names():
            label = load_label_map(finished / f'{stage}/labels/{name}.png', 3)
            assert label.shape == SIZES.get(name, NESTED)
        assert metrics(finished, stage)['images'] == 16
    assert metrics(finished, 'pseudo')['failed'] == 0
    assert 0 < metrics(finished, 'pseudo')['threshold'] < 1


@pytest.mark.slow
def test_maps_are_of_the_tags_and_of_the_photos_size(finished) -> None:
    for i, name in enumerate(names()):
        path = finished / f'maps/seeds/{name}.npz'
        seed = Seed.load(path)
        assert seed.classes.tolist() == [0] * (i < 8) + [1] * (i >= 7)
        assert seed.size == SIZES.get(name, NESTED)
        assert seed.scores.amax((1, 2)).min() > 0.9, 'a map of every tag'
        with np.load(path) as arrays:
            assert arrays['scores'].dtype == np.float16


@pytest.mark.slow
def test_the_report_shows_photos_and_measures_nothing_else(finished) -> None:
    page = (finished / 'report/report.html').read_text('utf-8')
    assert 'ground truth of' not in page and 'Class by class' not in page
    assert 'heat map of CAM: Gans in Gänse/DSC 00' in page
    assert 'pseudo label of Gänse/DSC 00' in page and 'prediction of ' in page
    names = ['mAP', 'classes', 'images']
    assert list(metrics(finished, 'classifier')) == [f'multilabel/{n}' for n in names]


@pytest.mark.slow
def test_the_segmentor_begins_with_the_classifier_and_knows_its_classes(
    finished,
) -> None:
    model = load_json(finished / 'segmentor/model.json')
    assert model['model']['decode_head']['num_classes'] == 3
    assert model['classes'] == ['Gans', 'Möwe']
    classifier = load_json(finished / 'classifier/model.json')['model']
    assert classifier['head']['num_classes'] == 2
    record = StageRecord.load(finished / 'segmentor')
    assert record is not None
    assert record.provenance['initial_weights'] == 'backbone of classifier'


@pytest.mark.slow
def test_masks_measure_and_change_nothing(finished, photos, tmp_path) -> None:
    root = write_masks(Path(shutil.copytree(photos, tmp_path / 'photos')))
    work_dir = tmp_path / 'work'
    command = arguments('pipeline_with_masks', root, work_dir)
    tiny.run_python(tiny.TOOLS / 'run_pipeline.py', *command)
    for stage in ('pseudo', 'prediction'):
        for name in names():
            file = f'{stage}/labels/{name}.png'
            assert (work_dir / file).read_bytes() == (finished / file).read_bytes()
    for stage in ('maps_score', 'pseudo_score', 'prediction_score'):
        scores = load_json(work_dir / stage / 'scores.json')
        assert scores['classes'] == ['background', 'Gans', 'Möwe']
    assert set(load_json(work_dir / 'pseudo_score/per_image.json')) == {
        'Gänse/DSC 00', 'Gänse/DSC 03', 'Möwen/DSC 02', 'Möwen/DSC 03',
    }  # fmt: skip
    assert set(load_json(work_dir / 'prediction_score/per_image.json')) == {
        'Gänse/DSC 03', 'Möwen/DSC 03',
    }  # fmt: skip
    page = (work_dir / 'report/report.html').read_text('utf-8')
    assert 'ground truth of Gänse/DSC 00' in page


@pytest.mark.slow
def test_a_validation_without_tags_is_not_measured(photos, tmp_path) -> None:
    root = Path(shutil.copytree(photos, tmp_path / 'photos'))
    table = root / 'Bestand 2024.csv'
    lines = table.read_text('cp1252').splitlines()
    for i, line in enumerate(lines):
        if line.endswith(';val'):
            lines[i] = ';'.join([*line.split(';')[:2], '', '', 'val'])
    table.write_text('\n'.join(lines), 'cp1252')
    command = arguments('pipeline', root, tmp_path / 'work', '--stop', 'classifier')
    done = tiny.run_python(tiny.TOOLS / 'run_pipeline.py', *command)
    assert f'{root} val: 4 photos, 4 without tags' in done.stdout
    said = 'none of the 4 photos shows a class, so that the mean average precision'
    assert said in done.stdout.split('mAP is not measured')[0], 'before training'
    assert 'multilabel/mAP' not in metrics(tmp_path / 'work', 'classifier')


@pytest.mark.slow
def test_a_broken_photo_is_named(photos, tmp_path) -> None:
    root = Path(shutil.copytree(photos, tmp_path / 'photos'))
    path = root / 'images/Gänse/DSC 03.JPG'
    path.write_bytes(path.read_bytes()[:200])
    command = arguments('pipeline', root, tmp_path / 'work')
    done = tiny.run_python(tiny.TOOLS / 'run_pipeline.py', *command, code=2)
    assert 'DSC 03.JPG' in done.stderr.splitlines()[-1]
    assert 'Traceback' not in done.stderr


def test_mistakes_are_one_line(refused, photos, tmp_path) -> None:
    root = Path(shutil.copytree(photos, tmp_path / 'photos'))

    def run(config: str = 'pipeline', *options: str) -> str:
        return refused(
            'run_pipeline.py', *arguments(config, root, tmp_path / 'work', *options)
        )

    assert 'has no label map of the split' in run('pipeline_with_masks')
    table = root / 'Bestand 2024.csv'
    good = table.read_bytes()
    table.write_bytes(good.replace(b'DSC 05', b'DSC 55'))
    assert 'DSC 55.jpg (and 1 more) does not exist: it is listed in' in run()
    table.write_bytes(good.replace(b';x;', b';vielleicht;', 1))
    assert "line 2 has 'vielleicht' in the column 'Gans'" in run()
    table.write_bytes(good)
    table.rename(root / 'train.csv')
    assert 'val.csv does not exist' in run()
    (root / 'train.csv').rename(table)
    table.write_bytes(good.replace(b';split', b';Gruppe'))
    (root / 'classes.txt').unlink()
    assert "in the column 'Gruppe'" in run()
    assert 'does not exist: put a folder images/' in refused(
        'run_pipeline.py', CONFIGS / 'pipeline.py', '--data-root', tmp_path / 'no'
    )


def test_labels_that_teach_nothing_are_noticed_before_an_hour_has_gone(
    refused, photos, tmp_path
) -> None:
    root = Path(shutil.copytree(photos, tmp_path / 'photos'))
    rows = ''.join(f'{name}.JPG,Gans\n' for name in names())
    (root / 'Bestand 2024.csv').write_text('file,tags\n' + rows, 'utf-8')
    (root / 'classes.txt').unlink()
    said = refused('run_pipeline.py', *arguments('pipeline', root, tmp_path / 'work'))
    assert 'all show Gans, so that their labels teach nothing' in said
