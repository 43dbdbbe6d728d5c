"""What the user gets wrong: one line, exit code 2, and nothing done is lost."""

from __future__ import annotations

import errno
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from wsss_plugins.structures import (
    load_json,
    load_label_map,
    save_json,
    save_label_map,
)

BROKEN = b'\xff\xd8\xff no jpeg at all'


@pytest.fixture
def own_data(data_root, tmp_path) -> Path:
    """A copy of the data set to break."""
    return Path(shutil.copytree(data_root, tmp_path / 'data/VOC2012'))


@pytest.fixture
def broken():
    """Replaces the content of a file of the shared data set until the test ends."""
    whole: dict[Path, bytes] = {}

    def replace(path: Path, content: bytes) -> Path:
        whole[path] = path.read_bytes()
        path.write_bytes(content)
        return path

    yield replace
    for path, content in whole.items():
        path.write_bytes(content)


@pytest.fixture
def work_dir(finished, tmp_path) -> Path:
    """A copy of the finished work dir."""
    return Path(shutil.copytree(finished, tmp_path / 'work'))


# Data ---------------------------------------------------------------------------------


def test_missing_data_root(pipeline, tmp_path) -> None:
    root = tmp_path / 'nowhere/VOC2012'
    message = pipeline(data=root)
    assert f'data root {root} does not exist' in message
    make = f'wsss prepare synthetic --out {root.parent}'
    assert message.endswith(make)


def test_empty_id_list(pipeline, own_data) -> None:
    path = own_data / 'ImageSets/Segmentation/train.txt'
    path.write_text('\n')
    assert pipeline(data=own_data) == (
        f'{path} lists no images: give a list with at least one id'
    )


def test_id_without_image(pipeline, own_data) -> None:
    path = own_data / 'JPEGImages/train_000003.jpg'
    path.unlink()
    message = pipeline(data=own_data)
    assert message.startswith(f'image {path} does not exist: it is listed in')


@pytest.mark.parametrize('workers', [0, 1])
def test_image_that_cannot_be_decoded(refused, own_data, tmp_path, workers) -> None:
    path = own_data / 'JPEGImages/train_000003.jpg'
    path.write_bytes(BROKEN)
    option = f'train_dataloader.num_workers={workers}'
    message = refused('train.py', *tiny.train(own_data, tmp_path / 'work', option))
    assert message == (
        f'image {path} cannot be decoded (no known format): '
        'replace the file or take its id out of the list'
    )


@pytest.mark.slow
def test_every_stage_goes_on_without_a_broken_photo(
    pipeline, work_dir, broken, data_root
) -> None:
    """From its seed to the training on pseudo labels and the report."""
    path = broken(data_root / 'JPEGImages/train_000020.jpg', BROKEN)
    before = {n: r.finished for n, r in tiny.records(work_dir).items()}
    again = ['cam', 'cam_score', 'pseudo', 'pseudo_score', 'segmentor', 'report']
    for name in again:
        shutil.rmtree(work_dir / name)
    for path_of_record in work_dir.glob('*/record.json'):
        # Else the trainings, which read the photo too, run again and refuse it.
        record = load_json(path_of_record)
        save_json(path_of_record, {**record, 'data': None})
    tool = tiny.TOOLS / 'run_pipeline.py'
    done = tiny.run_python(tool, *tiny.arguments(data_root, work_dir))
    assert f'cam: train_000020 left out: image {path} cannot be decoded' in done.stderr
    assert 'pseudo: 1 of 24 images failed, see ' in done.stderr
    records = tiny.records(work_dir)
    left_out = {
        n: r.metrics['left_out'] for n, r in records.items() if 'left_out' in r.metrics
    }
    assert left_out == dict(cam_score=1, pseudo_score=1, segmentor=1)
    assert records['cam'].metrics == dict(images=24, failed=1)
    assert records['pseudo'].metrics['failed'] == 1
    for name, what in (('cam', 'seeds'), ('pseudo', 'labels')):
        assert len(list((work_dir / name / what).iterdir())) == 23
    assert load_json(work_dir / 'pseudo/failures.json') == dict(
        train_000020='cam/seeds/train_000020.npz does not exist'
    )
    after = {n: r.finished for n, r in records.items()}
    ran = {n for n in before if after.get(n) != before[n]}
    assert ran == {*again, 'prediction', 'prediction_score'}
    options = [*tiny.arguments(data_root, work_dir), '--strict']
    message = tiny.run_python(tool, *options, code=2).stderr.splitlines()[-1]
    assert message.startswith("error: stage 'cam': 1 of its images failed, listed in ")


def test_label_file_with_an_unknown_class(pipeline, own_data) -> None:
    path = own_data / 'Annotations/train_000000.xml'
    path.write_text('<annotation><object><name>birt</name></object></annotation>')
    message = pipeline(data=own_data)
    assert message.startswith(
        f"{path} names the unknown class 'birt': did you mean 'bird'?"
    )


def test_mask_with_a_value_outside_the_classes(
    pipeline, broken, work_dir, data_root, tmp_path
) -> None:
    mask = load_label_map(data_root / 'SegmentationClass/val_000002.png').copy()
    mask[0, 0] = 7
    save_label_map(tmp_path / 'wrong.png', mask)
    wrong = (tmp_path / 'wrong.png').read_bytes()
    path = broken(data_root / 'SegmentationClass/val_000002.png', wrong)
    before = tiny.finish_times(work_dir)
    shutil.rmtree(work_dir / 'prediction_score')
    assert pipeline(work_dir=work_dir) == (
        f'mask {path} has the value 7: allowed are 0 to 6 and 255 (ignored)'
    )
    after = tiny.finish_times(work_dir)
    assert after == {n: t for n, t in before.items() if n != 'prediction_score'}


# Checkpoints --------------------------------------------------------------------------


def test_checkpoint_of_another_model(refused, finished, data_root, tmp_path) -> None:
    config, *options = tiny.train(data_root, tmp_path / 'work')
    other = finished / 'segmentor/weights.safetensors'
    message = refused('test.py', config, other, *options)
    assert message.startswith(
        f'checkpoint {other} is of another model than ACRClassifier: 0 loaded; '
    )
    assert message.endswith('give the checkpoint that belongs to this config')
    assert message == refused('train.py', config, *options, f'load_from={other}')


class Planted:
    """Runs code when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


@pytest.mark.parametrize('name', ['planted.pth', 'planted.pkl'])
def test_planted_pickle_does_not_run(refused, data_root, tmp_path, name) -> None:
    trace, path = tmp_path / 'it_ran', tmp_path / name
    content = dict(state_dict=Planted(trace))
    if name.endswith('.pth'):
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    config, *options = tiny.train(data_root, tmp_path / 'work')
    message = refused('test.py', config, path, *options)
    assert message == (
        f'checkpoint {path} holds more than weights (or is damaged) and was not loaded: '
        'it could run code; export its tensors as .safetensors'
    )
    assert not trace.exists()
    refused('train.py', config, *options, f'load_from={path}')
    assert not trace.exists()
    pickle.loads(pickle.dumps(content))
    assert trace.exists(), 'it would have'


def test_planted_resume_point_does_not_run(refused, data_root, tmp_path) -> None:
    work_dir, trace = tmp_path / 'work', tmp_path / 'it_ran'
    work_dir.mkdir()
    torch.save(dict(meta=Planted(trace)), work_dir / 'resume.pth')
    message = refused('train.py', *tiny.train(data_root, work_dir))
    assert f'checkpoint {work_dir / "resume.pth"} holds more than weights' in message
    assert not trace.exists()


def test_checkpoint_that_does_not_exist(refused, data_root, tmp_path) -> None:
    config, *options = tiny.train(data_root, tmp_path / 'work')
    path = tmp_path / 'no.pth'
    assert refused('test.py', config, path, *options) == (
        f'checkpoint {path} does not exist'
    )


# Work dir, disk, numbers --------------------------------------------------------------


def test_work_dir_of_another_config(refused, pipeline, work_dir, data_root) -> None:
    before = {p: p.stat().st_mtime_ns for p in work_dir.rglob('*')}
    message = refused('train.py', *tiny.train(data_root, work_dir))
    assert message == (
        f"work dir {work_dir} belongs to 'acr/synthetic_pipeline', not 'acr/synthetic': "
        'choose another with --work-dir'
    )
    assert {p: p.stat().st_mtime_ns for p in work_dir.rglob('*')} == before


def test_work_dir_that_is_a_file(pipeline, tmp_path) -> None:
    path = tmp_path / 'file'
    path.write_text('')
    message = pipeline(work_dir=path)
    assert message == f'--work-dir {path} is a file: name a folder'


@pytest.mark.parametrize(
    'stage, pattern',
    [('classifier', 'resume.pth'), ('cam', '.npz'), ('pseudo', '.png')],
)
def test_no_space_left(
    pipeline, work_dir, finished, monkeypatch, stage, pattern
) -> None:
    names = [s['name'] for s in tiny.stages()]
    for name in names[names.index(stage) :]:
        shutil.rmtree(work_dir / name)
    replace, written = Path.replace, []

    def full(self: Path, target: Path) -> Path:
        if str(target).endswith(pattern):
            written.append(target)
            if len(written) == 2:
                raise OSError(errno.ENOSPC, 'No space left on device')
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, 'replace', full)
        message = pipeline(work_dir=work_dir)
    assert message == (
        f'no space left to write {written[1]}: free some space, then run the same '
        'command again'
    )
    assert written[0].is_file() and not list(work_dir.rglob('.*.part*'))
    assert not tiny.records(work_dir)[stage].done
    earlier = names[: names.index(stage)]
    if earlier:
        tiny.assert_same_results(finished, work_dir, earlier)


def test_full_disk_while_logging(pipeline, tmp_path, monkeypatch) -> None:
    """Where no file of ours is written, e.g. in mmengine's log."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(np, 'savez_compressed', full)
    monkeypatch.setattr('wsss_plugins.stages.train.build_runner', full)
    assert pipeline(work_dir=tmp_path / 'new') == (
        'no space left to write the output: free some space, then run the same command '
        'again'
    )


def test_loss_that_is_no_number(refused, data_root, tmp_path) -> None:
    options = tiny.train(data_root, tmp_path, 'optim_wrapper.optimizer.lr=1e30')
    message = refused('train.py', *options)
    assert message.startswith('train: the loss is ')
    assert ' in epoch 1, iteration ' in message or ' in epoch 2, iteration ' in message
    assert 'lower the learning rate (optim_wrapper.optimizer.lr)' in message


@pytest.mark.slow
def test_the_command_itself(tmp_path) -> None:
    """Once through a process of its own: code 2, nothing but the line."""
    command = [tiny.CONFIG, '--data-root', tmp_path / 'nowhere']
    done = tiny.run_python(tiny.TOOLS / 'run_pipeline.py', *command, code=2)
    assert done.stdout == ''
    assert done.stderr.startswith('error: data root ')
    assert done.stderr.count('\n') == 1
