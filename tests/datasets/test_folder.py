"""Folders of photos and tables of tags, as people make them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from trees import half_mask, make_folder, save_image

from wsss_plugins.datasets import FolderWSSS
from wsss_plugins.datasets.folder import hash_splits
from wsss_plugins.datasets.tag_table import read_tag_table
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


def labels(dataset: FolderWSSS) -> dict[str, list[str]]:
    """The classes of each image by id."""
    names = np.array(dataset.foreground_classes)
    return {n: list(names[dataset.labels(i) > 0]) for i, n in enumerate(dataset.ids)}


def only_table(root: Path, name: str, text: str | bytes) -> Path:
    """Puts a table in place of all others."""
    for table in root.glob('*.csv'):
        table.unlink()
    content = text if isinstance(text, bytes) else text.encode()
    (root / name).write_bytes(content)
    return root


def test_tags_become_labels(root: Path) -> None:
    dataset = FolderWSSS(root)
    assert dataset.metainfo['classes'] == ('background', 'cat', 'dog', 'grass')
    assert dataset.ids == ['x', 'sub/y', 'z']
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


def test_classes_may_be_listed_in_a_file(root: Path) -> None:
    (root / 'classes.txt').write_text('grass\ndog\n\ncow\ncat\n')
    assert FolderWSSS(root).foreground_classes == ('grass', 'dog', 'cow', 'cat')


def test_other_image_folder_and_spreadsheet_mark(root: Path) -> None:
    (root / 'images').rename(root / 'photos')
    table = root / 'train.csv'
    table.write_bytes(b'\xef\xbb\xbf' + table.read_bytes())
    assert len(FolderWSSS(root, images='photos')) == 3


def test_photos_may_lie_beside_the_table(root: Path) -> None:
    for path in (root / 'images').iterdir():
        path.rename(root / path.name)
    (root / 'images').rmdir()
    save_image(root / 'masks/x.jpg')  # is not looked at
    table = 'file,tags\nx,dog\n'
    assert (
        FolderWSSS(only_table(root, 'train.csv', table)).image_path(0) == root / 'x.png'
    )


# ---- tables


TABLE = 'file,tags\nx.png,dog;grass\nsub/y.jpg,cat|dog\nz.jpg,\n'
EXCEL = 'sep=;\r\nDatei;file;Tags\r\n1;x.png;"dog; grass"\r\n2;sub\\y.jpg;cat,dog\r\n3;z.jpg;\r\n;;\r\n'
COLUMNS = 'file;cat;dog;grass\nx.png;0;1;X\nsub/y.jpg;yes;TRUE;no\nz.jpg;;;\n'
LONG = 'file,tags\nx.png,dog\nx.png,grass\nsub/y.jpg,cat\n\nsub/y.jpg,dog\nx.png,dog\nz.jpg,\n'


@pytest.mark.parametrize(
    'content',
    [
        TABLE.encode(),
        TABLE.replace('\n', '\r\n').encode('utf-8-sig'),
        TABLE.encode('utf-16'),
        TABLE.replace(',', '\t').encode(),
        EXCEL.encode('cp1252'),
        COLUMNS.encode(),
        COLUMNS.replace(';', '\t').encode(),
        LONG.encode(),
        ('FILE,"Tags"\n' + TABLE.split('\n', 1)[1]).encode(),
    ],
    ids=[
        'plain',
        'mark',
        'utf16',
        'tabs',
        'excel',
        'columns',
        'tabbed',
        'long',
        'case',
    ],
)
def test_tables_of_every_kind(root: Path, content: bytes) -> None:
    dataset = FolderWSSS(only_table(root, 'train.csv', content))
    assert labels(dataset) == {'x': ['dog', 'grass'], 'sub/y': ['cat', 'dog'], 'z': []}


def test_columns_keep_their_order_and_can_be_chosen(root: Path) -> None:
    table = 'file,dog,cat,station,split\nx.png,1,0,A7,train\nz.jpg,0,1,B2,val\n'
    only_table(root, 'all.csv', table)
    text = message(root, 'train')
    assert "line 2 has 'A7' in the column 'station'" in text and 'classes.txt' in text
    dataset = FolderWSSS(root, 'train', classes=['dog', 'cat'])
    assert dataset.foreground_classes == ('dog', 'cat') and dataset.ids == ['x']
    assert "no column 'cow'" in message(root, 'train', classes=['dog', 'cow'])


@pytest.mark.parametrize('form', ['NFC', 'NFD'])
@pytest.mark.parametrize('encoding', ['utf-8', 'cp1252', 'utf-16'])
def test_umlauts_blanks_and_capitals(tmp_path: Path, form: str, encoding: str) -> None:
    """As a camera, macOS and Excel leave them together."""
    name = unicodedata.normalize(form, 'Tag 1/Gänse am  Fluß (2).JPG')
    save_image(tmp_path / 'images' / name)
    table = 'file,tags\n' + 'tag 1/gänse am  fluß (2).jpg,Höckergans\n'
    (tmp_path / 'train.csv').write_bytes(table.encode(encoding))
    dataset = FolderWSSS(tmp_path)
    assert dataset.foreground_classes == ('Höckergans',)
    assert dataset.ids == [name.removesuffix('.JPG')]
    assert dataset.load_image(0).shape == (6, 10, 3)


def test_names_without_suffix_and_without_folder(root: Path) -> None:
    table = 'file,tags\nX,dog\ny.jpg,cat\nz.PNG,\n'
    dataset = FolderWSSS(only_table(root, 'train.csv', table))
    assert dataset.ids == ['x', 'sub/y', 'z']
    save_image(root / 'images/other/y.jpg')
    text = message(root)
    assert "line 3: 'y.jpg' may mean several files" in text
    assert '(other/y.jpg, sub/y.jpg)' in text


def test_numbered_photos_of_several_days(tmp_path: Path) -> None:
    """Cameras begin anew at IMG_1; results keep the sub-folder."""
    rows = [('day_1/IMG_1.JPG', 'dog'), ('day_2/IMG_1.JPG', 'cat')]
    dataset = FolderWSSS(make_folder(tmp_path, rows))
    assert dataset.ids == ['day_1/IMG_1', 'day_2/IMG_1']
    save_label_map(tmp_path / 'masks/day_2/IMG_1.png', half_mask(1))
    few = dict(label_maps='masks', test_mode=True, only_with_maps=True)
    assert FolderWSSS(tmp_path, **few).ids == ['day_2/IMG_1']


@pytest.mark.parametrize(
    ('table', 'part'),
    [
        ('x.png,dog\n', "begins with 'x.png,dog': its first line must be file,tags"),
        ('', "begins with ''"),
        ('file\nx.png\n', 'its first line must be file,tags'),
        ('file,tags,Tags\nx.png,a,b\n', "two columns 'tags'"),
        ('file,tags\n', 'lists no images'),
        ('file,tags\nx.png,dog,cat\n', 'line 2 has 3 cells but the first line 2'),
        ('file,tags\n,dog\n', 'line 2 has no file'),
        ('file,tags\n\n../x.png,dog\n', "line 3 has the file '../x.png'"),
        ('file,tags\n/data/x.png,dog\n', 'as it lies in the folder of the photos'),
        ('file,tags\nC:\\x.png,dog\n', 'as it lies in the folder of the photos'),
        ('file,tags\nx.png,dog\nz.jpg,Dog\n', "the tags 'Dog' and 'dog'"),
        ('file,tags\nx.png,Background\n', "the tag 'background'"),
        ('file,dog\nx.png,maybe\n', "has 'maybe' in the column 'dog'"),
        (
            'file,tags\nx.png,dog\nq.jpg,dog\n',
            'images/q.jpg does not exist: it is listed',
        ),
        ('file,tags,split\nx.png,a,train\nx.png,b,val\n', "puts x.png into 'val'"),
    ],
)
def test_mistakes_in_the_table(root: Path, table: str, part: str) -> None:
    assert part in message(only_table(root, 'train.csv', table))


def test_bad_input(root: Path, tmp_path: Path) -> None:
    assert 'train.csv with the header file,tags' in message(tmp_path / 'nowhere')
    text = message(root, 'val')
    assert 'val.csv does not exist: tables there are train' in text
    assert 'name train.csv photos.csv to have it divided' in text
    (root / 'binary.csv').write_bytes(b'PK\x03\x04\x00\x00')
    assert 'binary.csv cannot be read (it is no text)' in message(root, 'binary')
    save_image(root / 'images/x.jpg')
    (root / 'twice.csv').write_text('file,tags\nx.png,dog\nx.jpg,dog\n')
    text = message(root, 'twice')
    assert "two files that would have the id 'x', x.png and x.jpg" in text
    only_table(root, 'one.csv', TABLE)
    (root / 'two.csv').write_text(TABLE)
    assert 'tables there are one, two; keep one table' in message(root, 'train')
    for path in root.glob('*.csv'):
        path.unlink()
    (root / 'photos.xlsx').write_bytes(b'PK')
    assert 'save photos.xlsx as CSV' in message(root, 'train')


# ---- splits


def test_a_column_divides_the_table(root: Path) -> None:
    table = 'file,split,tags\nx.png,Train,dog\nsub/y.jpg,val,cat\nz.jpg,,\n'
    only_table(root, 'photos.csv', table)
    assert FolderWSSS(root, 'train').ids == ['x']
    val = FolderWSSS(root, 'val')
    assert val.ids == ['sub/y'] and val.foreground_classes == ('cat', 'dog')
    assert FolderWSSS(root, 'all').ids == ['x', 'sub/y', 'z']
    assert "no image of the split 'test': splits there are all, train, val" in message(
        root, 'test'
    )


def test_classes_of_all_splits_are_those_of_train(root: Path) -> None:
    (root / 'val.csv').write_text('file,tags\nx.png,dog\n')
    assert FolderWSSS(root, 'val').foreground_classes == ('cat', 'dog', 'grass')
    (root / 'val.csv').write_text('file,tags\nx.png,cow\n')
    assert "val.csv gives x.png the unknown class 'cow'" in message(root, 'val')


def test_all_is_what_the_tables_of_the_splits_hold(root: Path) -> None:
    (root / 'val.csv').write_text('file,tags\nmore,dog\n')
    save_image(root / 'images/more.png')
    assert FolderWSSS(root, 'all').ids == ['x', 'sub/y', 'z', 'more']
    (root / 'val.csv').write_text('file,tags\nz.jpg,dog\n')
    assert "val.csv lists 'z', and so does another table" in message(root, 'all')
    (root / 'notes.csv').write_text('file,tags\nz.jpg,dog\n')
    assert 'tables there are notes, train, val' in message(root, 'all')


def test_hashes_divide_the_table(root: Path) -> None:
    names = [f'photo_{i}.png' for i in range(200)]
    for name in names:
        save_image(root / 'images' / name, 0, (2, 3))
    rows = ''.join(f'{name},dog;cat\n' for name in names)
    only_table(root, 'photos.csv', 'file,tags\n' + rows)
    train, val = FolderWSSS(root, 'train'), FolderWSSS(root, 'val')
    assert set(train.ids).isdisjoint(val.ids)
    assert len(train) + len(val) == 200 and 25 <= len(val) <= 55
    assert 80 <= len(FolderWSSS(root, 'val', val_share=0.5)) <= 120
    # The first ids that the hash of this version makes 'val': the same everywhere.
    assert val.ids[:3] == [f'photo_{i}' for i in (7, 10, 18)]
    half = 'file,tags\n' + ''.join(f'{name},dog;cat\n' for name in names[::-2])
    only_table(root, 'photos.csv', half)
    assert set(FolderWSSS(root, 'val').ids) == set(val.ids) & {
        name.removesuffix('.png') for name in names[::-2]
    }


@pytest.mark.parametrize('seed', range(30))
def test_small_sets_stay_usable(seed: int) -> None:
    """Every class is trained on, and something is validated on, however few there are."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 9))
    tags = {
        f'{seed}_{i}': set(rng.choice(list('abcd'), rng.integers(0, 3), replace=False))
        for i in range(count)
    }
    splits = hash_splits(tags, 0.3)
    assert list(splits) == list(tags) and set(splits.values()) <= {'train', 'val'}
    train = [tags[n] for n, split in splits.items() if split == 'train']
    assert train and ('val' in splits.values()) is (count > 1)
    everywhere = [tag for shown in tags.values() for tag in shown]
    spare = [n for n in tags if all(everywhere.count(tag) > 1 for tag in tags[n])]
    if spare:
        assert set().union(*train) == set(everywhere)
    assert hash_splits(tags, 0) == dict.fromkeys(tags, 'train')


def test_a_share_is_below_one() -> None:
    with pytest.raises(DataError, match=r'val_share must be in \[0, 1\), not 1'):
        hash_splits({'a': {'x'}}, 1)


# ---- masks


@pytest.mark.parametrize('folder', FolderWSSS.ground_truth_folders)
def test_ground_truth_is_for_evaluation(root: Path, folder: str) -> None:
    for name in ('x', 'sub/y', 'z'):
        save_label_map(root / folder / f'{name}.png', half_mask(3))
    assert 'training on ground-truth masks' in message(root, label_maps=folder)
    dataset = FolderWSSS(root, label_maps=folder, test_mode=True)
    assert dataset.load_mask(0).tolist() == half_mask(3).tolist()


def test_a_few_masks_are_enough(root: Path) -> None:
    save_label_map(root / 'masks/z.png', half_mask(0))
    given = dict(label_maps='masks', test_mode=True)
    assert 'only_with_maps=True' in message(root, **given)
    assert FolderWSSS(root, **given, only_with_maps=True).ids == ['z']
    (root / 'masks/z.png').rename(root / 'masks/z_mask.png')
    text = message(root, **given, only_with_maps=True)
    assert (
        "no label map of the split 'train': name them like the photos, such as x.png"
        in text
    )


def test_black_and_white_masks_are_refused(root: Path) -> None:
    for name in ('x', 'sub/y', 'z'):
        save_label_map(root / f'masks/{name}.png', half_mask(0))
    dataset = FolderWSSS(root, label_maps='masks', test_mode=True)
    with pytest.raises(DataError, match='write 2 for dog and 3 for grass'):
        dataset.load_mask(0)
    assert set(np.unique(dataset.load_mask(2))) == {0, 255}, 'it shows none'


def test_a_table_of_one_class(tmp_path: Path) -> None:
    (tmp_path / 't.csv').write_text('file,tags\na,dog\n')
    table = read_tag_table(tmp_path / 't.csv')
    assert table.classes == ('dog',) and not table.has_splits
