"""What the refine stage goes on without: every kind of broken seed and photo."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refining import CHAIN, IDS, Picky, files, pair, run, write_world
from torch import Tensor

from wsss_plugins.errors import DataError
from wsss_plugins.refiners import Refiner
from wsss_plugins.structures import Seed, load_json
from wsss_plugins.structures.layout import seed_path


@pytest.fixture
def world(tmp_path) -> Path:
    """Photos and seeds."""
    return write_world(tmp_path)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def class_id(value: int):
    def replace_class(path: Path) -> None:
        seed = Seed.load(path)
        seed.classes[0] = value
        seed.save(path)

    return replace_class


def scores(path: Path, value: Any, **others: Any) -> None:
    np.savez(path, scores=value, classes=np.array([0]), **others)


SEED, PHOTO = 'cam/seeds/image_2.npz', 'data/images/image_2.png'
BROKEN = {
    'no seed': (SEED, Path.unlink, f'{SEED} does not exist'),
    'truncated seed': (SEED, truncate, f'{SEED} is no readable .npz'),
    'no archive': (SEED, lambda p: p.write_text('no'), f'{SEED} is no readable .npz'),
    'empty file': (SEED, lambda p: p.write_bytes(b''), f'{SEED} is no readable .npz'),
    'words': (SEED, lambda p: scores(p, np.full((1, 6, 10), 'a')), f'{SEED} has scores of type'),
    'NaN': (
        SEED,
        lambda p: scores(p, np.full((1, 6, 10), np.nan)),
        f'{SEED} holds scores that are not finite',
    ),
    'NaN background': (
        SEED,
        lambda p: scores(p, np.ones((1, 6, 10)), background=np.full((6, 10), np.nan)),
        f'{SEED} holds scores that are not finite',
    ),
    'size of the background': (
        SEED,
        lambda p: scores(p, np.ones((1, 6, 10)), background=np.ones((10, 6))),
        f'{SEED}: the background of a seed must have its size (6, 10), not (10, 6)',
    ),
    'no maps': (SEED, lambda p: scores(p, np.ones((6, 10))), f'{SEED}: a seed needs'),
    'size': (
        SEED,
        lambda p: scores(p, np.ones((1, 10, 6))),
        f'{SEED} is (10, 6) (height, width) but its image data/images/image_2.png is '
        '(6, 10): make the seed again from the same image',
    ),
    'class': (SEED, class_id(2), f'{SEED} has the class id 2: allowed are 0 to 1'),
    'negative': (SEED, class_id(-1), f'{SEED} has the class id -1: allowed are 0 to 1'),
    'no photo': (PHOTO, Path.unlink, f'image {PHOTO} does not exist'),
    'photo': (PHOTO, lambda p: p.write_bytes(b'no'), f'image {PHOTO} cannot be decoded'),
    'truncated photo': (PHOTO, truncate, f'image {PHOTO} cannot be decoded'),
}  # fmt: skip


@pytest.mark.parametrize('batch_size', [1, 3])
@pytest.mark.parametrize('case', BROKEN)
def test_goes_on_without_what_is_broken(world, case, batch_size, capsys) -> None:
    run(world, 'whole')
    place, damage, reason = BROKEN[case]
    damage(world / place)
    metrics = run(world, batch_size=batch_size, soft=True)
    assert dict(images=5, failed=1).items() <= metrics.items()
    listed = load_json(world / 'pseudo/failures.json')
    assert list(listed) == ['image_2'] and listed['image_2'].startswith(reason)
    said = [x for x in capsys.readouterr().err.splitlines() if 'left out' in x]
    assert len(said) == 1 and str(world / place) in said[0]
    written = files(world / 'pseudo/labels')
    expected = files(world / 'whole/labels')
    expected.pop('image_2.png')
    assert written == expected
    assert len(files(world / 'pseudo/seeds')) == 4


def test_no_background_is_said_once(world) -> None:
    with pytest.raises(DataError) as error:
        run(world, refiners=[dict(type=Picky)])
    assert str(error.value) == (
        "stage 'pseudo': all of 5 images failed, image_0 since cam/seeds/image_0.npz: "
        'this seed has no background score yet: put a background policy first in the '
        'list of refiners'
    )


class Undefined(Refiner):
    """Divides by zero where an image does not begin with enough."""

    def refine(self, image: Tensor, seed: Seed) -> Seed:
        return replace(seed, scores=seed.scores / (seed.scores[0, 0, 0] > 0.4))


def test_scores_that_are_no_numbers_are_not_written(world) -> None:
    small = [n for n in IDS if pair(world, n)[1].normalised().scores[0, 0, 0] <= 0.4]
    assert 0 < len(small) < 5
    refiners = [CHAIN[0], dict(type=Undefined)]
    assert run(world, refiners=refiners)['failed'] == len(small)
    assert list(load_json(world / 'pseudo/failures.json')) == small


def test_one_of_a_batch_cannot_be_refined(world) -> None:
    path = seed_path(world / 'cam', 'image_2')
    seed = Seed.load(path)
    seed.scores[0, 0, 0] = 0
    seed.save(path)
    refiners = [dict(type='ConstantBackground', normalise=False), dict(type=Picky)]
    assert run(world, refiners=refiners, batch_size=5)['failed'] == 1
    assert load_json(world / 'pseudo/failures.json') == dict(
        image_2='cam/seeds/image_2.npz: it begins with 0'
    )
    assert len(list((world / 'pseudo/labels').iterdir())) == 4
