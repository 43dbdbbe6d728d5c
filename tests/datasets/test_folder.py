from __future__ import annotations

from pathlib import Path

import pytest
from trees import half_mask, make_folder, save_image

from wsss_plugins.datasets import FolderWSSS
from wsss_plugins.errors import DataError
from wsss_plugins.structures import save_label_map

ROWS = [('x.png', 'dog;grass'), ('sub/y.jpg', ' cat | dog '), ('z.jpg', '')]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / 'mine').mkdir()
    return make_folder(tmp_path / 'mine', ROWS)


def message(root: Path, *args: object, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        FolderWSSS(root, *args, **options)
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_tags_become_labels(root: Path) -> None:
    dataset = FolderWSSS(root)
    assert dataset.metainfo['classes'] == ('background', 'cat', 'dog', 'grass')
    assert dataset.ids == ['x', 'y', 'z']
    assert [dataset.labels(i).tolist() for i in range(3)] == [
        [0, 1, 1],
        [1, 1, 0],
        [0, 0, 0],
    ]
    assert (dataset.load_image(0) == save_image(root / 'again.png', 0)).all()


def test_given_classes_keep_their_order(root: Path) -> None:
    dataset = FolderWSSS(root, 'train.csv', classes=['grass', 'dog', 'cow', 'cat'])
    assert dataset.labels(0).tolist() == [1, 1, 0, 0]
    text = message(root, classes=['gras', 'dog', 'cat'])
    assert (
        "train.csv gives x.png the unknown class 'grass': did you mean 'gras'" in text
    )


def test_other_image_folder_and_spreadsheet_mark(root: Path) -> None:
    (root / 'images').rename(root / 'photos')
    table = root / 'train.csv'
    table.write_bytes(b'\xef\xbb\xbf' + table.read_bytes())
    assert len(FolderWSSS(root, images='photos')) == 3


def test_bad_input(root: Path, tmp_path: Path) -> None:
    assert 'train.csv with the header file,tags' in message(tmp_path / 'nowhere')
    text = message(root, 'val')
    assert 'val.csv does not exist: tables there are train' in text
    (root / 'empty.csv').write_text('file,tags\n')
    assert 'empty.csv lists no images' in message(root, 'empty')
    (root / 'head.csv').write_text('x.png,dog\n')
    text = message(root, 'head')
    assert "begins with 'x.png,dog': its first line must be file,tags" in text
    (root / 'none.csv').write_text('')
    assert "begins with ''" in message(root, 'none')
    (root / 'twice.csv').write_text('file,tags\nx.png,dog\nsub/x.jpg,dog\n')
    save_image(root / 'images/sub/x.jpg')
    assert "twice.csv lists 'x' more than once" in message(root, 'twice')
    (root / 'gone.csv').write_text('file,tags\nx.png,dog\nq.jpg,dog\n')
    assert 'images/q.jpg does not exist: it is listed in' in message(root, 'gone')
    (root / 'latin.csv').write_bytes(b'file,tags\nx.png,K\xfche\n')
    assert 'latin.csv cannot be read' in message(root, 'latin')


@pytest.mark.parametrize('folder', FolderWSSS.ground_truth_folders)
def test_ground_truth_is_for_evaluation(root: Path, folder: str) -> None:
    for name in 'xyz':
        save_label_map(root / folder / f'{name}.png', half_mask(3))
    assert 'training on ground-truth masks' in message(root, label_maps=folder)
    dataset = FolderWSSS(root, label_maps=folder, test_mode=True)
    assert dataset.load_mask(0).tolist() == half_mask(3).tolist()
