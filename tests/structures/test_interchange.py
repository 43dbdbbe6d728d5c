"""Seeds and label maps of other projects against hand-made files in their layouts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.structures import Seed, save_label_map, voc_palette
from wsss_plugins.structures.interchange import SEED_FORMATS, load_seed, save_seed
from wsss_plugins.structures.label_import import read_label_map

BY_CLASS = sorted(set(SEED_FORMATS) - {'wsss', 'irn'})
H, W = 9, 14


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / 'x.npy'


def maps(count: int = 2, size: tuple[int, int] = (H, W)) -> np.ndarray:
    return np.random.default_rng(0).random((count, *size), np.float32)


def seed(count: int = 2, background: bool = False) -> Seed:
    scores = torch.from_numpy(maps(count))
    ids = torch.tensor([3, 14, 19])[:count]
    return Seed(scores, ids, 1 - scores.amax(0) if background else None)


def saved(path: Path, content: object) -> Path:
    """As the other project leaves it."""
    np.save(path, content)
    return path


def theirs(path: Path) -> dict:
    """As the other project reads it."""
    return np.load(path, **{'allow_pickle': True}).item()


def assert_same(found: Seed, given: Seed) -> None:
    assert torch.equal(found.classes, given.classes)
    assert torch.equal(found.scores, given.scores)
    assert (found.background is None) == (given.background is None)
    if given.background is not None:
        assert torch.equal(found.background, given.background)


def refused(path: Path, layout: str = 'psa', **options: object) -> str:
    with pytest.raises(DataError) as error:
        load_seed(path, layout, **options)
    message = str(error.value)
    assert '\n' not in message and str(path) in message
    return message


@pytest.mark.parametrize('count', [1, 2, 3])
@pytest.mark.parametrize('layout', sorted(SEED_FORMATS))
def test_export_and_import_is_the_identity(tmp_path, layout, count) -> None:
    path = tmp_path / f'x{SEED_FORMATS[layout].suffix}'
    save_seed(path, seed(count), layout)
    assert_same(load_seed(path, layout), seed(count))
    assert_same(load_seed(path, layout, (H, W), num_classes=20), seed(count))


@pytest.mark.parametrize('layout', BY_CLASS)
def test_identity_with_background(path, layout) -> None:
    given = seed(2, background=True)
    save_seed(path, given, layout, with_background=True)
    assert_same(load_seed(path, layout, with_background=True), given)
    assert list(theirs(path)) == [0, 4, 15]
    with pytest.raises(DataError, match='no background score'):
        save_seed(path, seed(), layout, with_background=True)


@pytest.mark.parametrize('layout', sorted(SEED_FORMATS))
def test_a_seed_without_classes(tmp_path, layout) -> None:
    path = tmp_path / f'x{SEED_FORMATS[layout].suffix}'
    save_seed(path, seed(0), layout)
    found = load_seed(path, layout, (H, W))
    assert found.scores.shape == (0, H, W) and found.classes.dtype == torch.int64


def test_half_precision_is_kept(path) -> None:
    half = maps().astype(np.float16)
    found = load_seed(saved(path, {0: half[0], 5: half[1]}), 'psa')
    assert (found.scores.numpy() == half.astype(np.float32)).all()


@pytest.mark.parametrize('layout', BY_CLASS)
def test_a_dict_of_maps(path, layout) -> None:
    """Class ids from 0 in any order; the background is not among them."""
    a, b = maps()
    found = load_seed(saved(path, {14: a, np.int64(2): b[None]}), layout)
    assert found.classes.tolist() == [14, 2]
    assert (found.scores.numpy() == np.stack([a, b])).all()
    assert found.background is None


def test_a_dict_with_the_background_first(path) -> None:
    """PSA's maps after the dense CRF."""
    bg, a = maps()
    found = load_seed(saved(path, {0: bg, 15: a}), 'psa', with_background=True)
    assert found.classes.tolist() == [14]
    assert (found.background.numpy() == bg).all()


def test_an_array_of_all_classes(path) -> None:
    every = np.zeros((20, H, W), np.float32)
    every[[4, 7]] = maps()
    found = load_seed(saved(path, every), 'psa')
    assert found.classes.tolist() == [4, 7]
    assert (found.scores.numpy() == maps()).all()
    assert load_seed(path, 'psa', only=[7, 9]).classes.tolist() == [7]


def test_classes_that_are_left_out_take_their_confidence_along(tmp_path) -> None:
    sure = replace(seed(2), confidence=torch.tensor([0.25, 0.75]))
    save_seed(tmp_path / 'x.npz', sure, 'wsss')
    found = load_seed(tmp_path / 'x.npz', 'wsss', only=[14])
    assert found.classes.tolist() == [14] and found.confidence.tolist() == [0.75]
    assert found.scores.equal(sure.scores[1:])


def irn_file(path: Path, size: tuple[int, int] = (H, W)) -> np.ndarray:
    """As IRN's make_cam leaves it: tensors and an array."""
    full = maps(2, size)
    strided = torch.from_numpy(
        maps(2, ((size[0] - 1) // 4 + 1, (size[1] - 1) // 4 + 1))
    )
    saved(path, {'keys': torch.tensor([1, 17]), 'cam': strided, 'high_res': full})
    return full


def test_irn_as_it_writes(path) -> None:
    full = irn_file(path)
    found = load_seed(path, 'irn', (H, W), num_classes=20)
    assert found.classes.tolist() == [1, 17]
    assert (found.scores.numpy() == full).all()


def test_irn_with_padded_keys_and_without_full_size(path) -> None:
    strided = maps(2, (3, 4))
    saved(path, {'keys': np.array([0, 2, 18]), 'cam': strided})
    found = load_seed(path, 'irn', (H, W))
    assert found.classes.tolist() == [1, 17]
    expected = Seed(torch.from_numpy(strided), found.classes).resized((H, W))
    assert torch.equal(found.scores, expected.scores)


def test_irn_with_a_map_of_the_background(path) -> None:
    saved(path, {'keys': [0, 2], 'cam': maps()})
    found = load_seed(path, 'irn', with_background=True)
    assert found.classes.tolist() == [1]
    assert (found.background.numpy() == maps()[0]).all()
    assert (found.scores[0].numpy() == maps()[1]).all()


def test_what_irn_reads_of_ours(path) -> None:
    """Its label script adds 1 to the keys, its walk sends the tensor to the GPU."""
    save_seed(path, seed(), 'irn')
    content = theirs(path)
    keys = np.pad(content['keys'] + 1, (1, 0), mode='constant')
    assert keys.tolist() == [0, 4, 15]
    assert isinstance(content['cam'], torch.Tensor)
    assert content['cam'].shape == (2, 3, 4)
    assert (content['high_res'] == maps()).all()
    low = np.full_like(content['high_res'][:1], 0.5)
    label = keys[np.concatenate([low, content['high_res']]).argmax(0)]
    assert set(np.unique(label)) == {0, 4, 15}


def test_the_strided_map_is_that_of_the_photo(path) -> None:
    ramp = torch.linspace(0, 1, 40).expand(1, 21, 40)
    save_seed(path, Seed(ramp, torch.tensor([0])), 'irn')
    strided = theirs(path)['cam']
    assert strided.shape == (1, 6, 10)
    centres = (torch.arange(10) + 0.5) * 4 - 0.5
    torch.testing.assert_close(strided[0, 0], centres / 39, atol=1e-6, rtol=0)


def test_what_others_read_of_ours(path) -> None:
    save_seed(path, seed(), 'mctformer')
    content = theirs(path)
    assert list(content) == [3, 14] and all(type(key) is int for key in content)
    assert content[3].dtype == np.float32 and (content[14] == maps()[1]).all()


def test_maps_of_a_grid_are_resized_to_the_photo(path) -> None:
    saved(path, {2: maps(1, (3, 5))[0]})
    found = load_seed(path, 'psa', (H, W))
    expected = Seed(torch.from_numpy(maps(1, (3, 5))), torch.tensor([2])).resized(
        (H, W)
    )
    assert torch.equal(found.scores, expected.scores)
    square = load_seed(saved(path, {2: maps(1, (6, 6))[0]}), 'psa', (H, W))
    assert square.size == (H, W), 'of a network that sees squares'


def test_turned_maps_are_refused(path) -> None:
    saved(path, {2: maps(1, (W, H))[0]})
    assert 'is (14, 9) (height, width) but its photo is (9, 14)' in refused(
        path, size=(H, W)
    )
    saved(path, {2: maps(1, (5, 3))[0]})
    assert 'turned by 90 degrees' in refused(path, size=(H, W))


def test_normalisation(path) -> None:
    raw = np.array([[[-2, 0, 4, 8]], [[0, 0.25, 0.5, 0.5]]], np.float32)
    saved(path, {0: raw[0], 1: raw[1]})
    found = load_seed(path, 'psa').scores[:, 0]
    torch.testing.assert_close(
        found, torch.tensor([[0, 0, 0.5, 1], [0, 0.5, 1, 1]]), atol=1e-5, rtol=0
    )
    kept = load_seed(path, 'psa', normalise=False).scores[:, 0]
    assert kept.tolist() == [[0, 0, 4, 8], [0, 0.25, 0.5, 0.5]]
    saved(path, {1: raw[1]})
    assert load_seed(path, 'psa').scores.max() == 0.5, 'it is in [0, 1] already'
    assert load_seed(path, 'psa', normalise=True).scores.max() > 0.999


@pytest.mark.parametrize(
    ('content', 'options', 'message'),
    [
        ({20: maps()[0]}, dict(num_classes=20), 'class id 20: allowed are ids 0 to 19'),
        ({-1: maps()[0]}, {}, 'class id -1: allowed are ids from 0'),
        (
            {0: maps()[0], 3: maps()[1]},
            dict(with_background=True, num_classes=2),
            'id 2',
        ),
        ({0: maps()[0], 1: maps(1, (3, 3))[0]}, {}, 'maps of (3, 3) and (9, 14)'),
        ({0: maps()}, {}, 'a map of shape (2, 9, 14)'),
        ({0: np.array([['a']])}, {}, "values of type 'U1'"),
        ({0: maps()[0] * np.nan}, {}, 'not finite'),
        ({}, {}, 'shows no class, so that its size is not known'),
        ({'0': maps()[0], 0: maps()[1]}, {}, 'one class twice'),
        ({'keys': [1], 'cam': maps(1)}, {}, "a dict with the keys 'keys', 'cam'"),
        (maps()[0], {}, 'an array (9, 14)'),
        ([1, 2], {}, 'array of 2 objects|an array (2,)|a list'),
    ],
)
def test_bad_files(path, content, options, message) -> None:
    said = refused(saved(path, content), **options)
    assert any(part in said for part in message.split('|')), said


def test_bad_files_of_irn(path) -> None:
    saved(path, {1: maps()[0]})
    assert 'a dict with the keys 1: a file of IRN has' in refused(path, 'irn')
    saved(path, {'keys': [1], 'high_res': maps()})
    assert '1 keys for 2 maps' in refused(path, 'irn')


def test_unknown_formats() -> None:
    with pytest.raises(ConfigError, match=r"unknown format 'inr'.*did you mean 'irn'"):
        load_seed('x.npy', 'inr')
    for layout in ('irn', 'wsss'):
        with pytest.raises(ConfigError, match='leave with_background out'):
            save_seed('x', seed(background=True), layout, with_background=True)


# ---- label maps

LABELS = np.array([[0, 1, 20], [255, 3, 0]], np.uint8)


def written(path: Path, mode: str) -> Path:
    """``LABELS`` as an image of that mode."""
    if mode == 'P':
        save_label_map(path, LABELS)
    elif mode == 'L':
        Image.fromarray(LABELS).save(path)
    elif mode == 'I;16':
        Image.fromarray(LABELS.astype(np.uint16)).save(path)
    else:
        colours = voc_palette()[LABELS]
        if mode == 'RGBA':
            colours = np.dstack([colours, np.full(LABELS.shape, 255, np.uint8)])
        Image.fromarray(colours).save(path)
    with Image.open(path) as image:
        assert image.mode.startswith(mode[:1])
    return path


@pytest.mark.parametrize('mode', ['P', 'L', 'I;16', 'RGB', 'RGBA'])
def test_label_maps_of_every_kind(tmp_path, mode) -> None:
    found = read_label_map(written(tmp_path / 'x.png', mode))
    assert found.dtype == np.uint8 and (found == LABELS).all()


def test_label_maps_as_arrays(path) -> None:
    assert (read_label_map(saved(path, LABELS.astype(np.int64))) == LABELS).all()


def test_labels_are_renamed(tmp_path) -> None:
    found = read_label_map(written(tmp_path / 'x.png', 'L'), {0: 255, 255: 0, 20: 90})
    assert found.tolist() == [[255, 1, 90], [0, 3, 255]]


def test_every_colour_of_voc_is_known(tmp_path) -> None:
    Image.fromarray(voc_palette()[None]).save(tmp_path / 'x.png')
    assert read_label_map(tmp_path / 'x.png')[0].tolist() == list(range(256))


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (np.full((2, 2, 3), 77, np.uint8), 'has the colour (77, 77, 77)'),
        (np.full((2, 2), 700, np.uint16), 'has the label 700: allowed are 0 to 255'),
    ],
)
def test_bad_pictures(tmp_path, content, message) -> None:
    Image.fromarray(content).save(tmp_path / 'x.png')
    with pytest.raises(DataError) as error:
        read_label_map(tmp_path / 'x.png')
    assert message in str(error.value) and 'x.png' in str(error.value)


def test_bad_label_files(tmp_path, path) -> None:
    with pytest.raises(DataError, match='does not exist'):
        read_label_map(tmp_path / 'no.png')
    (tmp_path / 'text.png').write_text('no picture')
    with pytest.raises(DataError, match='cannot be decoded'):
        read_label_map(tmp_path / 'text.png')
    for wrong in (maps()[0], maps(), {0: 1}, np.array([[-1]])):
        with pytest.raises(DataError, match=r'is no label map|has the label -1'):
            read_label_map(saved(path, wrong))
