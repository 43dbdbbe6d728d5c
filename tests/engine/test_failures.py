"""Images that a stage goes on without: what is said, listed, counted and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from mmengine.config import Config
from trees import make_voc

from wsss_plugins.datasets import VOC12
from wsss_plugins.engine import Stage, StageRecord
from wsss_plugins.engine.failures import Failures, without_failed
from wsss_plugins.errors import DataError
from wsss_plugins.experiment import Pipeline
from wsss_plugins.progress import ProgressBar
from wsss_plugins.registry import STAGES
from wsss_plugins.stages import TrainStage
from wsss_plugins.structures import load_json, save_json, save_label_map

IDS = ['a', 'b', 'c']


@pytest.fixture
def failures(tmp_path) -> Failures:
    out = tmp_path / 'here/mine'
    out.mkdir(parents=True)
    return Failures(out, ProgressBar('mine', 3))


def test_are_named_at_once_and_listed_in_the_order_of_the_images(
    failures, capsys, tmp_path
) -> None:
    path = f'{tmp_path}/here/cam/seeds/c.npz'
    with failures.leaving_out('c'):
        raise DataError(f'{path} does not exist')
    said = capsys.readouterr().err
    assert said == f'mine: c left out: {path} does not exist\n'
    failures.add('a', 'it is too small')
    assert failures.write(IDS) == 2
    listed = load_json(failures.out / 'failures.json')
    assert list(listed.items()) == [
        ('a', 'it is too small'),
        ('c', 'cam/seeds/c.npz does not exist'),  # wherever the work dir lies
    ]
    assert capsys.readouterr().err.splitlines()[1] == (
        f'mine: 2 of 3 images failed, see {failures.out}/failures.json'
    )


def test_other_errors_are_no_failures(failures) -> None:
    with pytest.raises(ZeroDivisionError), failures.leaving_out('a'):
        _ = 1 / 0
    assert failures.reasons == {}


def test_none_leaves_no_list(failures, capsys) -> None:
    save_json(failures.out / 'failures.json', dict(a='in an earlier run'))
    assert failures.write(IDS) == 0
    assert not (failures.out / 'failures.json').exists()
    assert capsys.readouterr().err == ''


def test_all_are_an_error(failures) -> None:
    for name in IDS:
        failures.add(name, f'{name}.jpg is broken')
    with pytest.raises(DataError) as error:
        failures.write(IDS)
    assert str(error.value) == (
        "stage 'mine': all of 3 images failed, a since a.jpg is broken"
    )


def test_later_stages_leave_them_out(tmp_path) -> None:
    for stage, failed in (('cam', ['b']), ('pseudo', ['c', 'b'])):
        save_json(tmp_path / stage / 'failures.json', dict.fromkeys(failed, 'why'))
    dataset = dict(type='VOC12', split='train')
    folders = [tmp_path / name for name in ('cam', 'pseudo', 'whole')]
    expected = dict(dataset, leave_out=['b', 'c'])
    assert without_failed(dataset, *folders) == expected
    assert (
        without_failed(dataset, folders[2])
        == dataset
        == dict(type='VOC12', split='train')
    )


def test_a_data_set_leaves_them_out(tmp_path) -> None:
    """What is needed of the images that remain is needed still."""
    root = make_voc(tmp_path / 'voc', dict(a=['cat'], b=['dog'], c=['cow']))
    maps = tmp_path / 'pseudo/labels'
    for name in 'ac':
        save_label_map(maps / f'{name}.png', np.zeros((6, 10)))
    common = dict(data_root=root, split='train', label_maps=maps)
    with pytest.raises(DataError, match=r'label map .*b\.png does not exist'):
        VOC12(**common)
    dataset = VOC12(**common, leave_out=['b'])
    assert dataset.ids == ['a', 'c']
    assert dataset.labels(1)[dataset.foreground_classes.index('cow')] == 1
    (root / 'JPEGImages/b.jpg').unlink()
    assert VOC12(**common, leave_out=['b']).ids == ['a', 'c']
    (root / 'JPEGImages/c.jpg').unlink()
    with pytest.raises(DataError, match=r'image .*c\.jpg does not exist'):
        VOC12(**common, leave_out=['b'])
    assert VOC12(root, 'train', require_images=False).ids == IDS


def test_training_on_label_maps_leaves_them_out(tmp_path, monkeypatch) -> None:
    configs = []

    def train(cfg: Config, *_: Any) -> dict[str, float]:
        configs.append(cfg.train_dataloader.dataset)
        return {}

    monkeypatch.setattr('wsss_plugins.stages.train.train_model', train)
    save_json(tmp_path / 'pseudo/failures.json', dict(b='broken'))
    root = str(make_voc(tmp_path / 'voc', dict(a=['cat'], b=['dog'])))
    data = dict(type='VOC12', data_root=root, split='train')
    loader = dict(dataset=data, batch_size=4)
    cfg = dict(model=dict(type='M'), train_dataloader=loader)
    stage = TrainStage('segmentor', cfg, label_maps='pseudo')
    for source in ('pseudo', 'whole'):
        metrics = stage.run(tmp_path / 'out', dict(pseudo=tmp_path / source))
        assert metrics == (dict(left_out=1) if source == 'pseudo' else {})
    assert configs[0] == dict(
        data,
        label_maps=str(tmp_path / 'pseudo/labels'),
        leave_out=['b'],
    )
    assert 'leave_out' not in configs[1]


def test_an_image_that_is_missing_is_refused_where_it_is_needed(tmp_path) -> None:
    """Before any work, by a stage that cannot go on without it, and only there."""
    root = make_voc(tmp_path / 'voc', dict(a=['cat'], b=['dog'], c=['cow']))
    (tmp_path / 'mine.py').touch()
    data = dict(type='VOC12', data_root=str(root), split='train')
    chain = [dict(type='ConstantBackground')]
    seeds = str(Path(__file__).parents[1] / 'golden')
    folder = dict(type='FolderStage', name='cam', path=seeds)
    refine = dict(
        type='RefineStage', name='pseudo', seeds='cam', dataset=data, refiners=chain
    )
    train = dict(
        type='TrainStage',
        name='net',
        config=dict(model={}, train_dataloader=dict(dataset=data)),
    )

    def marks(*stages: dict[str, Any]) -> list[str]:
        cfg = Config(dict(pipeline=[*stages]), filename=str(tmp_path / 'mine.py'))
        return [step.fingerprint for step in Pipeline(cfg).steps]

    whole = marks(folder, refine)
    (root / 'JPEGImages/b.jpg').unlink()
    assert marks(folder, refine) == whole
    with pytest.raises(DataError, match=r'image .*b\.jpg does not exist'):
        marks(folder, refine, train)


class Broken(Stage):
    """Goes on without the images in ``broken``, a file that the user can mend."""

    arguments_of_speed = frozenset({'workers'})
    made: ClassVar[list[str]] = []

    def __init__(self, name: str, broken: str, workers: int = 1) -> None:
        super().__init__(name)
        self.broken = Path(broken)

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        with ProgressBar(self.name, 3) as bar:
            failures = Failures(out, bar)
            for name in IDS:
                if name in self.broken.read_text():
                    failures.add(name, 'broken')
                elif not (out / name).exists():
                    self.made.append(name)
                    (out / name).touch()
            return dict(images=3, failed=failures.write(IDS))


@pytest.fixture
def pipeline(tmp_path):
    """Makes a pipeline of two such stages."""
    Broken.made.clear()
    STAGES.register_module(module=Broken)
    (tmp_path / 'mine.py').touch()

    def make(strict: bool = False, **arguments: Any) -> Pipeline:
        stage = dict(type='Broken', broken=str(tmp_path / 'broken'), **arguments)
        stages = [dict(stage, name='one'), dict(stage, name='two')]
        cfg = Config(dict(pipeline=stages), filename=str(tmp_path / 'mine.py'))
        return Pipeline(cfg, strict=strict)

    yield make
    STAGES.module_dict.pop('Broken')


def test_strict_ends_after_the_stage_and_goes_on_with_what_was_mended(
    pipeline, tmp_path
) -> None:
    work_dir, broken = tmp_path / 'work', tmp_path / 'broken'
    broken.write_text('b c')
    with pytest.raises(DataError) as error:
        pipeline(strict=True).run(work_dir)
    assert str(error.value) == (
        f"stage 'one': 2 of its images failed, listed in {work_dir}/one/failures.json: mend "
        'them and run the same command again, or leave out --strict'
    )
    assert Broken.made == ['a'] and not (work_dir / 'two').exists()
    record = StageRecord.load(work_dir / 'one')
    assert record is not None and not record.done and record.metrics['failed'] == 2
    broken.write_text('c')
    with pytest.raises(DataError, match="'one': 1 of its images failed"):
        pipeline(strict=True).run(work_dir)
    assert Broken.made == ['a', 'b']
    broken.write_text('')
    records = pipeline(strict=True).run(work_dir)
    assert Broken.made == ['a', 'b', 'c', *IDS]
    assert {r.metrics['failed'] for r in records.values()} == {0}


def test_strict_refuses_what_a_run_that_was_not_strict_has_left_out(
    pipeline, tmp_path
) -> None:
    work_dir, broken = tmp_path / 'work', tmp_path / 'broken'
    broken.write_text('b')
    records = pipeline().run(work_dir)
    assert [r.metrics['failed'] for r in records.values()] == [1, 1]
    broken.write_text('')
    with pytest.raises(DataError) as error:
        pipeline(strict=True).run(work_dir)
    remedy = f'mend them and remove {work_dir}/one and what was made from it, or leave'
    assert remedy in str(error.value)
    assert pipeline().run(work_dir) == records


def test_arguments_of_speed_are_no_part_of_the_fingerprint(pipeline, tmp_path) -> None:
    marks = [step.fingerprint for step in pipeline(workers=1).steps]
    assert [step.fingerprint for step in pipeline(workers=2).steps] == marks
    other = dict(type='Broken', name='one', broken='elsewhere')
    cfg = Config(dict(pipeline=[other]), filename=str(tmp_path / 'mine.py'))
    assert Pipeline(cfg).steps[0].fingerprint != marks[0]
