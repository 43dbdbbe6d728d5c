"""A changed photo, mask or file: the stages that read it run again, and nothing else."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.config import Config
from trees import half_mask, make_voc, save_image

from wsss_plugins.engine import Stage, StageRecord
from wsss_plugins.engine.contents import ContentIndex, file_digest
from wsss_plugins.experiment import Pipeline
from wsss_plugins.registry import STAGES
from wsss_plugins.structures import Seed, load_json, save_json, save_label_map

RUNS: list[str] = []
IDS = [f'2007_{i:06}' for i in range(6)]


class Look(Stage):
    """Notes that it ran; reads photos or masks of its data set, or what others made."""

    def __init__(
        self, name: str, reads: Any = (), dataset: Any = None, sees: str = 'photos'
    ) -> None:
        super().__init__(name)
        self.inputs = tuple(reads)
        self.reads_photos, self.reads_masks = sees == 'photos', sees == 'masks'  # type: ignore[misc]

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        RUNS.append(self.name)
        save_json(out / 'n.json', len(inputs))
        return {}


class Work:
    """seeds and train read photos; labels reads the seeds; score reads masks."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder, self.config = tmp_path / 'work', tmp_path / 'mine.py'
        self.config.touch()
        self.data = make_voc(tmp_path / 'voc', {name: ['cat'] for name in IDS})
        self.made = tmp_path / 'made'
        for i, name in enumerate(IDS):
            scores = np.full((1, 6, 10), 0.1 * i, np.float32)
            self.save_seed(name, scores)

    def save_seed(self, name: str, scores: np.ndarray) -> None:
        import torch

        Seed(torch.from_numpy(scores), torch.tensor([3])).save(
            self.made / f'{name}.npz'
        )

    def pipeline(self, **more: Any) -> Pipeline:
        photos = dict(type='VOC12', data_root=str(self.data), split='train')
        masks = dict(photos, label_maps='SegmentationClass')
        stages = [
            dict(type='Look', name='seeds', dataset=dict(masks, test_mode=True)),
            dict(type='Look', name='labels', reads=('seeds',)),
            dict(type='Look', name='score', dataset=masks, sees='masks'),
            dict(type='FolderStage', name='given', path=str(self.made)),
            dict(type='Look', name='refined', reads=('given',)),
        ]
        cfg = Config(dict(pipeline=stages), filename=str(self.config))
        return Pipeline(cfg, **more)

    def run(self) -> list[str]:
        RUNS.clear()
        self.pipeline().run(self.folder)
        return list(RUNS)

    def why(self) -> dict[str, tuple[str, ...]]:
        found = self.pipeline().examine(self.folder)
        return {name: f.why for name, f in found.items() if f.state != 'done'}


@pytest.fixture
def work(tmp_path):
    STAGES.register_module(name='Look', module=Look)
    made = Work(tmp_path)
    assert made.run() == ['seeds', 'labels', 'score', 'refined']
    assert made.run() == []
    yield made
    STAGES.module_dict.pop('Look')


def test_a_replaced_photo_runs_what_reads_it_and_what_follows(work) -> None:
    photo = work.data / f'JPEGImages/{IDS[3]}.jpg'
    shutil.copy(photo, work.data.parent / 'kept.jpg')
    save_image(photo, 99)
    where = f'(VOC12 {work.data} train)'
    assert work.why() == {
        'seeds': (f'data: 1 of 6 photos changed, first {IDS[3]}.jpg {where}',),
        'labels': ("reads 'seeds', which is not the one that it read",),
    }
    assert work.run() == ['seeds', 'labels'] and work.run() == []
    shutil.copy(work.data.parent / 'kept.jpg', photo)
    assert work.run() == [], 'the first result is there again'


def test_a_corrected_mask_runs_the_evaluation_alone(work) -> None:
    mask = work.data / f'SegmentationClass/{IDS[1]}.png'
    before = mask.stat()
    save_label_map(mask, half_mask(3))
    where = f'(VOC12 {work.data} train)'
    said = f'data: 1 of 6 masks changed, first {IDS[1]}.png {where}'
    assert work.why() == {'score': (said,)}
    assert work.run() == ['score']
    # Of the same size and with the time of the file before, as a copy may have it.
    save_label_map(mask, half_mask(4))
    assert mask.stat().st_size == before.st_size
    os.utime(mask, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert work.run() == ['score']


def test_files_made_elsewhere_count_too(work) -> None:
    work.save_seed(IDS[2], np.full((1, 6, 10), 0.9, np.float32))
    said = f'data: 1 of 6 files changed, first {IDS[2]}.npz ({work.made})'
    assert work.why()['given'] == (said,)
    assert work.run() == ['refined']


def test_a_touched_file_changes_nothing(work) -> None:
    for photo in (work.data / 'JPEGImages').iterdir():
        photo.touch()
    assert work.run() == []


def test_records_of_earlier_versions_are_taken_as_they_are_once(work, capsys) -> None:
    for path in work.folder.glob('*/record.json'):
        record = load_json(path)
        del record['data'], record['data_noted']
        save_json(path, record)
    shutil.rmtree(work.folder / '.data')
    save_image(work.data / f'JPEGImages/{IDS[0]}.jpg', 98)
    assert work.why() == {} and work.run() == []
    said = capsys.readouterr().err
    assert 'an earlier version made the results of seeds, score, given' in said
    record = StageRecord.load(work.folder / 'seeds')
    assert record is not None and record.data_noted
    assert work.run() == [] and capsys.readouterr().err == '', 'said once'
    save_image(work.data / f'JPEGImages/{IDS[0]}.jpg', 97)
    assert '1 of 6 photos changed' in work.why()['seeds'][0]
    assert work.run() == ['seeds', 'labels']


@pytest.fixture
def files(tmp_path) -> list[Path]:
    """Files that are older than what may still change unseen."""
    found = []
    for i in range(5):
        path = tmp_path / 'data' / f'{i}.jpg'
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes([i]) * 1000)
        found.append(path)
    return found


def test_files_are_read_again_only_when_they_changed(
    files, tmp_path, monkeypatch
) -> None:
    read: list[str] = []

    def counted(path: Path) -> str:
        read.append(path.name)
        return file_digest(path)

    monkeypatch.setattr('wsss_plugins.engine.contents.file_digest', counted)
    now = time.time_ns

    def look(later: float = 0) -> str:
        read.clear()
        monkeypatch.setattr(time, 'time_ns', lambda: now() + int(later * 1e9))
        index = ContentIndex(tmp_path / 'index')
        return index.content('photos', 'mine', files[0].parent, files).digest

    first = look()
    assert len(read) == 5 and look() == first
    assert len(read) == 5, 'files of just now may change within a tick of the clock'
    assert look(later=60) == first and len(read) == 5
    assert look(later=60) == first and read == [], 'kept'
    files[2].write_bytes(b'x' * 1000)
    assert look(later=60) != first and read == ['2.jpg']
    for path in (tmp_path / 'index').iterdir():
        path.write_text('{damaged')
    changed = look(later=60)
    assert len(read) == 5 and look(later=60) == changed and read == []
    files[4].unlink()
    assert look(later=60) not in (first, changed)


def test_an_index_that_cannot_be_written_is_done_without(files, tmp_path) -> None:
    (tmp_path / 'file').write_text('')
    index = ContentIndex(tmp_path / 'file' / 'index')
    for path in files:
        os.utime(path, (1e9, 1e9))
    content = index.content('photos', 'mine', files[0].parent, files)
    assert set(content.files) == {f'{i}.jpg' for i in range(5)}
