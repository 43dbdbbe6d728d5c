"""The report of photos without masks: pictures, and no number that was not measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from trees import half_mask, make_folder

from wsss_plugins.engine import StageRecord
from wsss_plugins.errors import ConfigError
from wsss_plugins.report import ReportStage
from wsss_plugins.structures import Seed, save_label_map

NAMES = ['a', 'day/b', 'c']


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    """What a seed stage, a refine stage and a training left."""
    rows = [('a.png', 'dog'), ('day/b.png', 'cat;dog'), ('c.png', '')]
    make_folder(tmp_path / 'photos', rows)
    for i, name in enumerate(NAMES):
        classes = torch.tensor([[1], [0, 1], []][i], dtype=torch.int64)
        scores = torch.rand(len(classes), 6, 10)
        Seed(scores, classes).save(tmp_path / f'maps/seeds/{name}.npz')
        save_label_map(tmp_path / f'pseudo/labels/{name}.png', half_mask(i % 3))
    (tmp_path / 'net').mkdir()
    for stage, kind, inputs, metrics in [
        ('net', 'TrainStage', {}, {'multilabel/mAP': 61.25}),
        ('maps', 'SeedStage', {'net': 'x'}, {'images': 3, 'failed': 0}),
        ('pseudo', 'RefineStage', {'maps': 'x'}, {'images': 3, 'threshold': 0.4}),
    ]:
        made = dict(head='CAM') if kind == 'SeedStage' else {}
        StageRecord(
            stage, kind, 'f', inputs, 0, True, metrics, made, 1.0, '2026-01-01T00:00:00'
        ).save(tmp_path / stage)
    return tmp_path


def report(work_dir: Path, **options: object) -> str:
    data = dict(type='FolderWSSS', data_root=str(work_dir / 'photos'), split='train')
    stage = ReportStage('report', 'Mine', data, **options)
    stage.run(work_dir / 'report', {name: work_dir / name for name in stage.inputs})
    return (work_dir / 'report/report.html').read_text('utf-8')


def test_photos_maps_and_labels_are_shown(work_dir) -> None:
    page = report(work_dir, seeds=['maps'], labels='pseudo')
    for name in NAMES:
        assert f'photo {name}' in page and f'pseudo label of {name}: ' in page
    assert page.count('heat map of CAM: ') == 3, 'of every tag'
    assert 'ground truth of' not in page and 'worst' not in page.lower()


def test_only_what_was_measured_is_a_number(work_dir) -> None:
    page = report(work_dir, seeds=['maps'], labels='pseudo')
    assert '61.2' in page and 'validation mAP' in page
    assert 'Class by class' not in page and 'Seeds by threshold' not in page
    assert 'is the mIoU of that image' not in page


def test_nothing_measured_at_all(work_dir) -> None:
    record = StageRecord.load(work_dir / 'net')
    assert record is not None
    record.metrics = {}
    record.save(work_dir / 'net')
    assert 'The numbers' not in report(work_dir, labels='pseudo')


def test_predictions_of_other_photos(work_dir) -> None:
    data = dict(type='FolderWSSS', data_root=str(work_dir / 'photos'), split='train')
    page = report(
        work_dir, seeds=['maps'], predictions='pseudo', prediction_dataset=data
    )
    assert 'Gallery of predictions' in page and 'prediction of day/b: ' in page


def test_a_stage_that_made_no_such_files(work_dir) -> None:
    with pytest.raises(
        ConfigError, match="an EvaluateLabelStage, but 'net' is of kind"
    ):
        report(work_dir, labels='net')
    with pytest.raises(ConfigError, match="an EvaluateSeedStage, but 'pseudo'"):
        report(work_dir, seeds=['pseudo'])
