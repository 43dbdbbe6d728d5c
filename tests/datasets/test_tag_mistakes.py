"""Mistakes in tables of tags and in names of files that changed labels without a word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from trees import half_mask, save_image

from wsss_plugins.datasets import FolderWSSS
from wsss_plugins.datasets.photo_files import PhotoFiles
from wsss_plugins.errors import DataError
from wsss_plugins.structures import save_label_map


def data_set(
    root: Path, table: str, photos: list[str], classes: str | None = None
) -> Path:
    for number, name in enumerate(photos):
        path = root / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save_image(path, number)
    (root / 'photos.csv').write_text(table, 'utf-8')
    if classes is not None:
        (root / 'classes.txt').write_text(classes, 'utf-8')
    return root


def shown(root: Path) -> dict[str, list[str]]:
    """The classes of each image by id."""
    dataset = FolderWSSS(root, 'all')
    names = np.array(dataset.foreground_classes)
    return {n: list(names[dataset.labels(i) > 0]) for i, n in enumerate(dataset.ids)}


def refusal(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        FolderWSSS(root, 'all')
    assert '\n' not in str(caught.value)
    return str(caught.value)


PHOTOS = ['a.png', 'b.png', 'c.png', 'd.png']


def test_a_quotation_mark_too_many_takes_no_rows_away(tmp_path: Path) -> None:
    table = 'file,tags\na.png,"bird\nb.png,nest\nc.png,nest\nd.png,bird\n'
    text = refusal(data_set(tmp_path, table, PHOTOS))
    assert 'line 2 has a cell that goes on in the next line' in text
    table = 'file,tags\na.png,bird\nb.png,"nest\nc.png,nest"\nd.png,bird\n'
    assert 'line 3 has a cell' in refusal(data_set(tmp_path, table, PHOTOS))


@pytest.mark.parametrize(
    'cell', ["['bird']", "\"['bird', 'nest']\"", '{bird}', "'bird'", '[bird;nest]']
)
def test_a_list_as_a_program_writes_it_is_refused(tmp_path: Path, cell: str) -> None:
    text = refusal(data_set(tmp_path, f'file,tags\nb.png,nest\na.png,{cell}\n', PHOTOS))
    assert 'line 3' in text and 'without brackets and quotation marks' in text


@pytest.mark.parametrize('word', ['nan', 'NaN', 'None', 'NULL', '#N/A'])
def test_the_words_of_programs_for_nothing_are_no_class(
    tmp_path: Path, word: str
) -> None:
    table = f'file,tags\na.png,bird\nb.png,{word}\n'
    text = refusal(data_set(tmp_path, table, PHOTOS))
    assert f"line 3 has the tag '{word}'" in text and 'leave the cell empty' in text
    meant = data_set(tmp_path, table, PHOTOS, f'bird\n{word}\n')
    assert shown(meant) == {'a': ['bird'], 'b': [word]}


@pytest.mark.parametrize('hidden', ['\u200b', '\ufeff', '\u00ad', '\u2060'])
def test_invisible_characters_are_refused(tmp_path: Path, hidden: str) -> None:
    table = f'file,tags\na.png,bird\nb.png,bi{hidden}rd\n'
    text = refusal(data_set(tmp_path, table, PHOTOS))
    assert f'line 3 has the tag {"bi" + hidden + "rd"!a}' in text
    assert f'U+{ord(hidden):04X}' in text


def test_a_joiner_that_a_script_needs_stays(tmp_path: Path) -> None:
    word = '\u0645\u06cc\u200c\u0631\u0648\u0645'
    table = f'file,tags\na.png,{word}\nb.png,\n'
    assert shown(data_set(tmp_path, table, PHOTOS)) == {'a': [word], 'b': []}
    bare = word.replace('\u200c', '')
    twins = f'file,tags\na.png,{word}\nb.png,{bare}\n'
    assert 'write a class one way' in refusal(data_set(tmp_path, twins, PHOTOS))


def test_empty_columns_of_a_spreadsheet_are_dropped(tmp_path: Path) -> None:
    table = 'file,tags,,\na.png,bird,,\nb.png,nest,,\nc.png,,,\n'
    expected = {'a': ['bird'], 'b': ['nest'], 'c': []}
    assert shown(data_set(tmp_path, table, PHOTOS)) == expected
    table = ',file,,bird,nest,\n,a.png,,1,0,\n,b.png,,,x,\n'
    expected = {'a': ['bird'], 'b': ['nest']}
    assert shown(data_set(tmp_path, table, PHOTOS)) == expected


def test_dots_in_names_are_no_suffix(tmp_path: Path) -> None:
    table = 'file,tags\nplot_1,oak\nplot_1.5,fir\n'
    root = data_set(tmp_path, table, ['plot_1.png', 'plot_1.5.png'])
    assert shown(root) == {'plot_1': ['oak'], 'plot_1.5': ['fir']}
    files = PhotoFiles(root / 'images')
    assert files.find('plot_1.5') == 'plot_1.5.png'
    assert files.find('PLOT_1.5.JPG') == 'plot_1.5.png'
    assert files.find('plot_1.7') is None


@pytest.mark.parametrize(
    'name', ['background', 'Background', '_background_', '__ignore__', 'ignore']
)
def test_names_that_are_no_foreground_class_are_refused(
    tmp_path: Path, name: str
) -> None:
    table = 'file,tags\na.png,bird\nb.png,nest\n'
    text = refusal(data_set(tmp_path, table, PHOTOS, f'{name}\nbird\nnest\n'))
    assert f"the class '{name}'" in text and 'remove it' in text


def test_a_class_twice_is_refused(tmp_path: Path) -> None:
    table = 'file,tags\na.png,bird\nb.png,nest\n'
    text = refusal(data_set(tmp_path, table, PHOTOS, 'bird\nnest\nbird\n'))
    assert "the class 'bird' twice" in text


def test_more_classes_than_a_label_map_has_values_are_refused(tmp_path: Path) -> None:
    names = [f'species_{n:03d}' for n in range(255)]
    table = 'file,tags\n' + ''.join(f'p{n}.png,{c}\n' for n, c in enumerate(names))
    root = data_set(tmp_path, table, [])
    with pytest.raises(DataError, match=r'255 classes.*at most 254'):
        FolderWSSS(root, 'all', require_images=False)
    table = table.rsplit('\n', 2)[0] + '\n'
    few = FolderWSSS(data_set(tmp_path, table, []), 'all', require_images=False)
    assert len(few.foreground_classes) == 254


def test_linked_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    root = data_set(tmp_path / 'set', 'file,tags\nx,bird\ny,\n', ['y.png'])
    (tmp_path / 'elsewhere').mkdir()
    save_image(tmp_path / 'elsewhere/x.png', 0)
    (root / 'images/linked').symlink_to(tmp_path / 'elsewhere')
    (root / 'images/loop').symlink_to(root / 'images')
    assert shown(root) == {'linked/x': ['bird'], 'y': []}


def test_a_long_name_can_be_written(tmp_path: Path) -> None:
    name = 'n' * 245
    save_label_map(tmp_path / f'{name}.png', half_mask(1))
    assert [p.name for p in tmp_path.iterdir()] == [f'{name}.png']
