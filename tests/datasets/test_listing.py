"""The contract of people's own data sets: one method, whose result is checked."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trees import make_folder, make_voc, save_image

from wsss_plugins.datasets import VOC12, FolderWSSS, Listing, WSSSDataset
from wsss_plugins.errors import ConfigError, DataError

LISTING = Listing(
    classes=['cat', 'dog'],
    ids=['a', 'b', 'c'],
    images=[Path(f'{name}.jpg') for name in 'abc'],
    labels=np.array([[1, 0], [0, 1], [1, 1]]),
    source=Path('list.txt'),
)


class Own(WSSSDataset):
    """Gives what a test asks for."""

    how_to_get = 'make it'
    given = LISTING

    def read_split(self) -> Listing:
        images = [self.root / path for path in self.given.images]
        return replace(self.given, images=images)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for i, name in enumerate('abc'):
        save_image(tmp_path / f'{name}.jpg', i, (6, 10))
    return tmp_path


def test_one_method_makes_a_data_set(root: Path) -> None:
    dataset = Own(root, 'train')
    assert dataset.ids == ['a', 'b', 'c']
    assert dataset.metainfo['classes'] == ('background', 'cat', 'dog')
    assert len(dataset.metainfo['palette']) == 3
    assert [dataset.labels(i).tolist() for i in range(3)] == LISTING.labels.tolist()
    assert dataset.labels(0).dtype == np.float32
    assert dataset.image_path(1) == root / 'b.jpg'
    assert Own(root, 'train', leave_out=['b']).ids == ['a', 'c']


def test_a_listing_is_a_value() -> None:
    with pytest.raises(FrozenInstanceError):
        LISTING.ids = []  # type: ignore[misc]


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(ids=[], images=[], labels=np.zeros(0)), 'list.txt lists no images'),
        (dict(ids=['a', 'b', 'a']), "list.txt lists 'a' more than once"),
        (dict(images=LISTING.images[:2]), 'lists 3 ids and 2 images'),
        (dict(labels=LISTING.labels[:2]), r'have the shape \(2, 2\).* give \(3, 2\)'),
        (dict(labels=LISTING.labels[:, 0]), r'have the shape \(3,\)'),
        (dict(labels=2 * LISTING.labels), r'values such as \[0, 2\]'),
        (dict(classes=['cat']), r'give \(3, 1\) \(images, classes\)'),
    ],
)
def test_a_wrong_listing_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(Own, 'given', replace(LISTING, **wrong))
    with pytest.raises(DataError, match=message):
        Own(root, 'train')


@pytest.mark.parametrize('base', [WSSSDataset, FolderWSSS])
def test_a_data_set_of_an_earlier_version_is_refused_by_name(base: type) -> None:
    methods = dict(find_classes=lambda self: ['cat'], find_labels=lambda self, ids: ids)
    with pytest.raises(ConfigError) as caught:
        type('Former', (base,), methods)
    message = str(caught.value)
    assert message.startswith('data set Former has find_classes, find_labels, which')
    assert 'Listing(classes, ids, images, labels, source)' in message


def test_digests_are_those_of_before(tmp_path: Path) -> None:
    make_voc(tmp_path / 'voc', {'a': ['dog', 'person'], 'b': ['tvmonitor']})
    assert VOC12(tmp_path / 'voc', 'train').digest() == '224ffde9f49dbb49'
    make_folder(tmp_path / 'folder', [('a.jpg', 'dog;person'), ('b.jpg', 'tv')])
    assert FolderWSSS(tmp_path / 'folder').digest() == '778e93e4227fb58a'
