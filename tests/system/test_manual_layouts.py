"""Each layout that the manual calls right: the doctor, the look and a training agree."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image
from tiny_training import one_epoch

from wsss_plugins.doctor import examine
from wsss_plugins.experiment.data_look import look_at_data
from wsss_plugins.experiment.lone_training import LoneTraining
from wsss_plugins.experiment.trial import refuse_mistakes
from wsss_plugins.stages.train import TrainStage
from wsss_plugins.structures import save_label_map

pytestmark = pytest.mark.slow
PAGE = (tiny.ROOT / 'docs/how-to/bring_your_own_data.md').read_text('utf-8')
SIZE = (16, 24)
PHOTOS = {
    'day 1/IMG_1.JPG': ('bird',),
    'day 1/IMG_2.JPG': ('bird', 'nest'),
    'day 1/IMG_3.JPG': (),
    'day 1/IMG_4.JPG': ('nest',),
    'day 2/IMG_1.JPG': ('bird',),
    'day 2/IMG_2.JPG': ('nest',),
    'day 2/IMG_3.JPG': (),
    'day 2/IMG_4.JPG': ('bird', 'nest'),
}
Tags = dict[str, tuple[str, ...]]
Layout = Callable[[Path], None]
LAYOUTS: dict[str, Layout] = {}


def layout(write: Layout) -> Layout:
    """Adds a layout under the name of its function."""
    LAYOUTS[write.__name__] = write
    return write


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def photos(root: Path, names: Tags = PHOTOS, folder: str = 'images') -> None:
    for i, name in enumerate(names):
        path = root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(i)).save(path)


def table(names: Tags = PHOTOS, divider: str = ';', comma: str = ',') -> str:
    rows = [f'{name}{comma}{divider.join(tags)}' for name, tags in names.items()]
    return '\n'.join([f'file{comma}tags', *rows]) + '\n'


def put(
    root: Path, text: str, name: str = 'photos.csv', encoding: str = 'utf-8'
) -> None:
    (root / name).write_bytes(text.encode(encoding))


@layout
def the_table_of_the_page(root: Path) -> None:
    photos(root)
    found = re.search(r'```text\n(file,tags\n.*?)```', PAGE, re.DOTALL)
    assert found is not None and found[1] in table()
    put(root, found[1] + table().removeprefix(found[1]))


@layout
def tags_by_bars(root: Path) -> None:
    photos(root)
    put(root, table(divider='|'))


@layout
def tags_by_commas_between_semicolons(root: Path) -> None:
    photos(root)
    put(root, table(divider=', ', comma=';'))


@layout
def tabs(root: Path) -> None:
    photos(root)
    put(root, table(comma='\t'))


@layout
def a_column_for_each_class(root: Path) -> None:
    photos(root)
    yes, no = ('1', 'x', 'yes', 'true', 'X', 'TRUE'), ('0', '', 'no', 'false')
    rows = [
        ','.join([name, *((yes if c in tags else no)[i % 4] for c in ('bird', 'nest'))])
        for i, (name, tags) in enumerate(PHOTOS.items())
    ]
    put(root, '\n'.join(['file,bird,nest', *rows]))


@layout
def of_excel(root: Path) -> None:
    photos(root)
    text = 'sep=;\r\n' + table(divider=',', comma=';').replace('\n', ';;\r\n')
    put(root, text.replace('/', '\\'), 'Bestand 2024.CSV', 'utf-8-sig')


@layout
def utf_16(root: Path) -> None:
    photos(root)
    put(root, table(), encoding='utf-16')


@layout
def umlauts_of_windows_and_macos(root: Path) -> None:
    names = {name.replace('day 1', 'Möwen'): tags for name, tags in PHOTOS.items()}
    photos(root, {unicodedata.normalize('NFD', name): t for name, t in names.items()})
    put(root, table(names), encoding='cp1252')


@layout
def names_written_otherwise(root: Path) -> None:
    """Case, suffix and blanks do not matter, nor a sub-folder that is not needed."""
    names = {
        n.replace('IMG', n[4]).replace('.JPG', '.png'): t for n, t in PHOTOS.items()
    }
    photos(root, names)
    put(root, table({Path(n).stem.lower(): t for n, t in names.items()}))


@layout
def rows_add_up(root: Path) -> None:
    photos(root)
    put(root, table() + 'day 1/IMG_1.JPG,nest\n')


@layout
def a_column_of_splits(root: Path) -> None:
    photos(root)
    head, *rows = table().splitlines()
    rows = [f'{row},{"val" if i % 4 == 3 else "train"}' for i, row in enumerate(rows)]
    put(root, '\n'.join([f'{head},split', *rows]))


@layout
def a_table_for_each_split(root: Path) -> None:
    photos(root)
    items = list(PHOTOS.items())
    put(root, table(dict(items[:6])), 'train.csv')
    put(root, table(dict(items[6:])), 'val.csv')


@layout
def classes_in_a_file(root: Path) -> None:
    photos(root)
    put(root, table())
    put(root, 'nest\nbird\n', 'classes.txt')


@layout
def photos_beside_the_table(root: Path) -> None:
    photos(root, folder='.')
    put(root, table())


@layout
def formats_and_depths(root: Path) -> None:
    """JPG, PNG, TIFF, BMP, WebP; grey, a palette, 16 bits, an alpha channel."""
    kinds = ('.png', '.tif', '.jpeg', '.bmp', '.webp', '.png', '.png', '.tiff')
    names = {
        f'{Path(n).stem}_{i}{kind}': PHOTOS[n]
        for i, (n, kind) in enumerate(zip(PHOTOS, kinds, strict=True))
    }
    photos(root, names)
    paths = [root / 'images' / name for name in names]
    Image.fromarray(pixels(0)).convert('L').save(paths[0])
    Image.fromarray(pixels(5)[..., 0].astype(np.uint16) * 200).save(paths[5])
    Image.fromarray(pixels(6)).convert('P').save(paths[6])
    Image.fromarray(pixels(7)).convert('RGBA').save(paths[7])
    put(root, table(names))


@layout
def masks_of_some_photos(root: Path) -> None:
    """Named with or without suffix, in any case; grey or with a palette; 255 at an edge."""
    photos(root)
    put(root, table())
    for i, name in enumerate(PHOTOS):
        mask = np.zeros(SIZE, np.uint8)
        for value, tag in enumerate(('bird', 'nest'), 1):
            if tag in PHOTOS[name]:
                mask[2:12, 8 * value : 8 * value + 6] = value
        mask[-1] = 255
        stem = name if i % 2 else name.removesuffix('.JPG').lower()
        path = root / f'masks/{stem}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        if i % 3:
            save_label_map(path, mask)
        else:
            Image.fromarray(mask).save(path)


@pytest.mark.parametrize('name', LAYOUTS)
def test_what_the_manual_calls_right(name: str, tmp_path: Path) -> None:
    root = tmp_path / 'my_photos'
    root.mkdir()
    LAYOUTS[name](root)
    report = examine([root])
    assert report.healthy, report.text()
    images = dict(type='FolderWSSS', data_root=str(root))
    cfg = one_epoch(dict(images, split='train'), dict(images, split='val'), 2)
    whole = dict(type='FolderWSSS', data_root=str(root), split='all', test_mode=True)
    if (root / 'masks').is_dir():
        whole |= dict(label_maps='masks', only_with_maps=True)
    looks = look_at_data([cfg.to_dict(), dict(dataset=whole)], everything=True)
    assert [look.problems for look in looks] == [()] * 3
    assert looks[0].photos + looks[1].photos == looks[2].photos == 8
    assert set(looks[2].classes) == {'bird', 'nest'}
    assert looks[2].classes == dict(bird=4, nest=4 + (name == 'rows_add_up'))
    assert not looks[2].doubts, 'a mistake where there is none'
    refuse_mistakes([TrainStage('training', cfg.to_dict())])
    metrics, card = LoneTraining(cfg).run(tmp_path / 'work')
    assert (tmp_path / 'work/weights.safetensors').is_file() and card is not None
    tagged = looks[1].untagged < looks[1].photos
    assert ('multilabel/mAP' in metrics) is tagged


def test_a_folder_with_another_table_is_no_data_set(tmp_path: Path) -> None:
    photos(tmp_path, folder='.')
    put(tmp_path, 'name,price\na,1\n', 'prices.csv')
    assert not examine([tmp_path]).healthy
