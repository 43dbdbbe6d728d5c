"""tools/train.py a second time: nothing to do, or refused, or anew with --redo."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tiny
from trees import save_image

TOOL = tiny.TOOLS / 'train.py'


@pytest.fixture(scope='module')
def trained(data_root, tmp_path_factory) -> tuple[Path, Path]:
    """A data set of its own, and the work dir of a training on it."""
    folder = tmp_path_factory.mktemp('again')
    data, work = Path(shutil.copytree(data_root, folder / 'data')), folder / 'work'
    tiny.run_python(TOOL, *tiny.train(data, work))
    return data, work


def files(work: Path) -> dict[str, tuple[int, bytes]]:
    """When each file of a model was written, and what it holds."""
    paths = [work / n for n in ('weights.safetensors', 'metrics.json', 'resume.pth')]
    return {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in paths}


def test_the_same_again_does_nothing(trained) -> None:
    data, work = trained
    before = files(work)
    done = tiny.run_python(TOOL, *tiny.train(data, work))
    weights = work / 'weights.safetensors'
    assert f'already trained, nothing to do: {weights}' in done.stderr
    assert done.stdout.startswith('multilabel/mAP ') and files(work) == before


def test_another_training_is_refused(trained, refused) -> None:
    data, work = trained
    before = files(work)

    def against(*options: str) -> str:
        message = refused('train.py', *tiny.train(data, work, *options))
        start, end = f'work dir {work} holds another training (', 'choose another with'
        assert message.startswith(start) and '--redo' in message
        assert message.partition('): ')[2].startswith(f'{end} --work-dir')
        return message.removeprefix(start).partition('): ')[0]

    assert against('--seed', '7') == 'seed: 0 → 7'
    rate = against('optim_wrapper.optimizer.lr=0.005')
    assert rate.startswith('config: config.optim_wrapper.optimizer.lr ')
    assert rate.endswith(' → 0.005')
    length = against('train_cfg.max_epochs=5')
    assert length == 'config: config.train_cfg.max_epochs 3 → 5'
    name = (data / 'ImageSets/Segmentation/train.txt').read_text().split()[0]
    photo, label = data / f'JPEGImages/{name}.jpg', data / f'Annotations/{name}.xml'
    kept = photo.read_bytes()
    save_image(photo, 5, (32, 40))
    said = f'data: 1 of 24 photos changed, first {name}.jpg (VOC12 {data} train)'
    assert against() == said
    photo.write_bytes(kept)
    kept = label.read_bytes()
    tags = label.read_text()
    other = 'cow' if '<name>cow' not in tags else 'car'
    now = tags.replace(
        '</annotation>', f'<object><name>{other}</name></object></annotation>'
    )
    label.write_text(now)
    if (data / 'classes.txt').is_file():
        classes = (data / 'classes.txt').read_text().split()
        other_class = next(c for c in classes if f'<name>{c}' not in tags)
        label.write_text(now.replace(other, other_class))
    assert against() == f'images or labels of VOC12 {data} train'
    label.write_bytes(kept)
    assert files(work) == before, 'nothing is touched'
    tiny.run_python(TOOL, *tiny.train(data, work))


def test_redo_keeps_the_old_model_aside(trained, tmp_path) -> None:
    data, first = trained
    work = Path(shutil.copytree(first, tmp_path / 'work'))
    before = files(work)
    tiny.run_python(TOOL, *tiny.train(data, work, '--seed', '7', '--redo'))
    assert files(work)['weights.safetensors'][1] != before['weights.safetensors'][1]
    card = json.loads((work / 'metrics.json').read_text())['card']
    assert card['seeds'] == [7]
    (aside,) = (work / '.previous').iterdir()
    kept = {name: content for name, (_, content) in files(aside).items()}
    assert kept == {name: content for name, (_, content) in before.items()}


def test_what_an_earlier_version_trained_is_taken_once(
    trained, tmp_path, refused
) -> None:
    data, first = trained
    work = Path(shutil.copytree(first, tmp_path / 'work'))
    shutil.rmtree(work / '.training')
    message = refused('train.py', *tiny.train(data, work, '--seed', '7'))
    assert '(seed: 0 → 7' in message
    done = tiny.run_python(TOOL, *tiny.train(data, work))
    assert 'an earlier version trained this model' in done.stderr
    assert 'already trained' in done.stderr
    done = tiny.run_python(TOOL, *tiny.train(data, work))
    assert 'an earlier version' not in done.stderr
