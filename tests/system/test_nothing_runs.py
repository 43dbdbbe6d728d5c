"""Nothing that comes with weights or data is run: code is planted in each kind of file."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file
from trees import half_mask, make_folder, make_voc

from wsss_plugins.backbones.weights import read_weights
from wsss_plugins.datasets import VOC12, FolderWSSS
from wsss_plugins.datasets.files import check_ids
from wsss_plugins.datasets.photos import read_image
from wsss_plugins.datasets.preparation import prepare_voc12
from wsss_plugins.engine import StageRecord
from wsss_plugins.errors import UserError
from wsss_plugins.provenance.files import card_of_folder
from wsss_plugins.structures import (
    Seed,
    load_json,
    load_label_map,
    load_npz,
    save_label_map,
)
from wsss_plugins.structures.interchange import load_seed

TAGS = {'a': ['cat'], 'b': ['dog']}
CALL = "__import__('pathlib').Path({trace!r}).touch()"


class Planted:
    """Writes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = str(trace)

    def __reduce__(self):
        return exec, (CALL.format(trace=self.trace),)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A file that exists when planted code ran; what is planted is shown to work."""
    path = tmp_path / 'trace/it_ran'
    path.parent.mkdir()
    pickle.loads(pickle.dumps(Planted(path)))
    assert path.exists(), 'the planted code does not work'
    path.unlink()
    return path


def object_array(trace: Path) -> np.ndarray:
    """An array that numpy stores as a pickle."""
    return np.array([Planted(trace)], dtype=object)


def write_pth(path: Path, trace: Path) -> None:
    torch.save(dict(state_dict=dict(weight=torch.ones(1)), more=Planted(trace)), path)


def write_pickle(path: Path, trace: Path) -> None:
    path.write_bytes(pickle.dumps(dict(state_dict=Planted(trace))))


def write_npz(path: Path, trace: Path) -> None:
    names = ('scores', 'classes', 'names', 'labels', 'weight', 'affinity')
    np.savez(path, **dict.fromkeys(names, object_array(trace)))


def write_npy(path: Path, trace: Path) -> None:
    np.save(path, object_array(trace), allow_pickle=True)


def write_text(path: Path, trace: Path) -> None:
    path.write_text(CALL.format(trace=str(trace)))


def write_deep(path: Path, _: Path) -> None:
    path.write_text('[' * 100_000)


READERS: list[tuple[str, Callable[[Path, Path], None], Callable[[Path], object]]] = [
    ('weights.pth', write_pth, read_weights),
    ('weights.pt', write_pickle, read_weights),
    ('weights.safetensors', write_pickle, read_weights),
    ('weights.npz', write_npz, read_weights),
    ('seed.npz', write_npz, Seed.load),
    ('scores.npz', write_npz, load_npz),
    (
        'labels.npz',
        write_pickle,
        lambda p: VOC12(make_voc(p.parent / 'v', TAGS), 'train', labels=p),
    ),
    ('labels.npz', write_npz, load_npz),
    ('labels.npz', write_pickle, load_npz),
    ('mask.png', write_pickle, load_label_map),
    ('photo.jpg', write_pickle, read_image),
    ('photo.npy', write_npy, read_image),
    ('record.json', write_text, load_json),
    ('metrics.json', write_deep, load_json),
    ('seed.npy', write_npy, lambda path: load_seed(path, 'irn')),
    ('seed.npy', write_pickle, lambda path: load_seed(path, 'psa')),
]


@pytest.mark.parametrize(
    ('name', 'write', 'read'),
    READERS,
    ids=[f'{name} {write.__name__}' for name, write, _ in READERS],
)
def test_files_with_planted_code_are_refused_in_one_line(
    trace: Path, tmp_path: Path, name, write, read
) -> None:
    path = tmp_path / name
    write(path, trace)
    with pytest.raises(UserError, match=name) as caught:
        read(path)
    assert '\n' not in str(caught.value)
    assert not trace.exists()


def test_metadata_of_weights_and_pictures_is_text(trace: Path, tmp_path: Path) -> None:
    code = CALL.format(trace=str(trace))
    weights = tmp_path / 'weights.safetensors'
    save_file({'a': torch.ones(1)}, weights, dict(card=code, classes=code))
    assert list(read_weights(weights)) == ['a']
    chunk = PngImagePlugin.PngInfo()
    chunk.add_text('Comment', code)
    chunk.add_itxt('XML:com.adobe.xmp', f'<!DOCTYPE a [<!ENTITY b "{code}">]>')
    picture = Image.fromarray(half_mask(1))
    picture.save(tmp_path / 'a.png', pnginfo=chunk)
    assert load_label_map(tmp_path / 'a.png').max() == 255
    exif = Image.Exif()
    exif[0x010E] = code
    picture.save(tmp_path / 'a.jpg', exif=exif, comment=code.encode())
    assert read_image(tmp_path / 'a.jpg').shape[-1] == 3
    assert not trace.exists()


def test_records_of_a_work_dir_are_text(trace: Path, tmp_path: Path) -> None:
    code = CALL.format(trace=str(trace))
    for content in (
        dict(stage='a', kind=code, card=dict(type=code)),
        dict(stage=code, __reduce__=code),
        [code],
        code,
    ):
        for name in ('record.json', 'metrics.json', 'config.json'):
            (tmp_path / name).write_text(json.dumps(content))
        assert StageRecord.load(tmp_path) is None
        card = card_of_folder(tmp_path)
        assert card is None or card.networks == ()
    assert not trace.exists()


@pytest.mark.parametrize('cell', ['=1+1', '=cmd!A1', '@SUM(1', '{code}', '`touch x`'])
def test_cells_of_a_table_are_text(trace: Path, tmp_path: Path, cell: str) -> None:
    name = cell.format(code=f'{CALL} #'.format(trace=trace.name))
    root = make_folder(tmp_path / 'photos', [('a.png', name), ('b.png', 'cat')])
    assert set(FolderWSSS(root).foreground_classes) == {'cat', name}
    assert not trace.exists()


@pytest.mark.parametrize('name', ['../../a', '/a', 'day/../../a', '..'])
def test_ids_do_not_lead_out_of_the_results(name: str) -> None:
    with pytest.raises(UserError, match=r'train\.txt lists'):
        check_ids(['b', name], Path('train.txt'))
    check_ids(['b', '..a', 'day.../a', 'a..b'], Path('train.txt'))


def test_archives_write_nothing_outside(tmp_path: Path) -> None:
    path = tmp_path / 'VOCtrainval.zip'
    for name in ('../outside.jpg', '/outside.jpg', 'a\\..\\..\\outside.jpg'):
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('VOCdevkit/VOC2012/JPEGImages/a.jpg', b'')
            archive.writestr(name, b'')
        with pytest.raises(UserError, match='outside the archive'):
            prepare_voc12([path], None, tmp_path / 'out')
    link = zipfile.ZipInfo('VOCdevkit/VOC2012/JPEGImages/a.jpg')
    link.external_attr = 0o120777 << 16  # a symbolic link, as Info-ZIP stores it
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr(link, '/etc/hostname')
    with pytest.raises(UserError):
        prepare_voc12([path], None, tmp_path / 'out')
    assert [p for p in tmp_path.rglob('*') if p.is_symlink()] == []
    assert {p.name for p in tmp_path.iterdir()} <= {'VOCtrainval.zip', 'out'}


def test_a_mask_of_a_stranger_is_pixels_alone(trace: Path, tmp_path: Path) -> None:
    save_label_map(tmp_path / 'a.png', half_mask(1))
    content = (tmp_path / 'a.png').read_bytes() + pickle.dumps(Planted(trace))
    (tmp_path / 'b.png').write_bytes(content)
    assert np.array_equal(load_label_map(tmp_path / 'b.png'), half_mask(1))
    assert not trace.exists()
