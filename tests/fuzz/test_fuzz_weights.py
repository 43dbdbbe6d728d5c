"""Checkpoints and trained folders with anything wrong in them, through ``test.py`` and
``explain.py``."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bench import CLASSES, Bench
from doors import TRACE, Door
from PIL import Image
from safetensors.torch import load_file, save_file
from spoiling import (
    BYTES,
    FILES,
    WRONG,
    Planted,
    cases,
    dotted,
    leaves,
    replaced,
    rng_of,
    rounds,
)
from torch import Tensor

Weights = dict[str, Tensor]


@pytest.fixture
def trained(made_once, bench: Bench, door: Door) -> Path:
    """A copy of the folder of a trained model."""

    def make(place: Path) -> None:
        config = bench.write(bench.training())
        assert not door('train', config, '--work-dir', place / 'work').refused

    whole = made_once('trained', make)
    bench.write(bench.training())
    return Path(shutil.copytree(whole / 'work', bench.place / 'trained'))


def measured(bench: Bench, door: Door, checkpoint: Path) -> dict[str, float] | None:
    """The metrics that ``test.py`` prints; None where it refuses the checkpoint."""
    ended = door('test', bench.file, checkpoint, kept=bench.place)
    if ended.refused:
        assert checkpoint.name in ended.line
        return None
    found = {k: float(v) for k, v in re.findall(r'(\S+) ([\d.]+)(?:  |\n)', ended.said)}
    assert 'mAP' in ' '.join(found), ended.said
    assert all(0 <= value <= 100 for value in found.values())
    return found


def saved(
    name: str, change: Callable[[Weights], Any]
) -> Callable[[Path, Weights], Path]:
    """Saves what ``change`` makes of the weights under a name."""

    def save(folder: Path, weights: Weights) -> Path:
        path, content = folder / name, change(weights)
        if path.suffix == '.safetensors':
            save_file(content, path)
        elif path.suffix == '.npz':
            np.savez(path, **{k: np.asarray(v) for k, v in content.items()})
        else:
            torch.save(content, path)
        return path

    return save


def each(change: Callable[[Tensor], Any]) -> Callable[[Weights], Any]:
    return lambda weights: {k: change(v) for k, v in weights.items()}


def first(change: Callable[[Tensor], Any]) -> Callable[[Weights], Any]:
    def spoil(weights: Weights) -> Any:
        name = next(k for k, v in weights.items() if v.is_floating_point() and v.ndim)
        return {**weights, name: change(weights[name].clone())}

    return spoil


def header(change: Callable[[bytes], bytes]) -> Callable[[Path, Weights], Path]:
    """A file of safetensors whose head is changed."""

    def save(folder: Path, weights: Weights) -> Path:
        path = folder / 'spoilt.safetensors'
        save_file(weights, path)
        path.write_bytes(change(path.read_bytes()))
        return path

    return save


def described(**more: str) -> Callable[[Path, Weights], Path]:
    def save(folder: Path, weights: Weights) -> Path:
        save_file(weights, folder / 'spoilt.safetensors', more)
        return folder / 'spoilt.safetensors'

    return save


def pickled(folder: Path, weights: Weights) -> Path:
    path = folder / 'spoilt.pth'
    path.write_bytes(pickle.dumps(dict(state_dict=Planted(folder / TRACE))))
    return path


SAME = {
    'pth': saved('spoilt.pth', dict),
    'state_dict': saved('spoilt.pth', lambda w: dict(state_dict=w, epoch=3)),
    'deep': saved('spoilt.pt', lambda w: dict(a=dict(model=dict(w)), b=[1, 'x'])),
    'prefixed': saved('spoilt.pth', lambda w: {f'module.{k}': v for k, v in w.items()}),
    'npz': saved('spoilt.npz', dict),
    'float64': saved('spoilt.pth', each(lambda v: v.double())),
    'not contiguous': saved(
        'spoilt.pth', each(lambda v: v.t().contiguous().t() if v.ndim == 2 else v)
    ),
    'their classes': described(classes=json.dumps(CLASSES)),
    'classes that are no JSON': described(classes='['),
}
REFUSED = {
    'NaN': saved('spoilt.safetensors', first(lambda v: v * torch.nan)),
    'one NaN': saved('spoilt.pth', first(lambda v: v.index_fill(0, torch.tensor(0), torch.nan))),
    'infinity': saved('spoilt.npz', first(lambda v: v / 0)),
    'a tensor too few': saved('spoilt.pth', lambda w: dict(list(w.items())[1:])),
    'a tensor too many': saved('spoilt.safetensors', lambda w: {**w, 'x': torch.ones(1)}),
    'another shape': saved('spoilt.pth', first(lambda v: v[..., None])),
    'nothing': saved('spoilt.pth', lambda w: {}),
    'a list': saved('spoilt.pth', lambda w: list(w.values())),
    'a number': saved('spoilt.pth', lambda w: 5),
    'names that are numbers': saved('spoilt.pth', lambda w: dict(enumerate(w.values()))),
    'text': saved('spoilt.npz', each(lambda v: 'x')),
    'objects': saved('spoilt.npz', each(lambda v: np.array([None]))),
    'code in a zip': saved('spoilt.pth', lambda w: {**w, 'more': Planted(Path(TRACE))}),
    'code in a pickle': pickled,
    'a whole module': saved('spoilt.pth', lambda w: torch.nn.Linear(2, 2)),
    'complex': saved('spoilt.pth', each(lambda v: v * 1j)),
    'sparse': saved('spoilt.pth', first(lambda v: v.to_sparse())),
    'nowhere': saved('spoilt.pth', each(lambda v: v.to('meta'))),
    'a head without end': header(lambda data: struct.pack('<Q', 2**40) + data[8:]),
    'a head of zeros': header(lambda data: data[:8] + bytes(len(data) - 8)),
    'a head alone': header(lambda data: data[: 8 + int.from_bytes(data[:8], 'little')]),
    'the start of a head': header(lambda data: data[:20]),
    'classes of others': described(classes='["cow", "horse"]'),
    'classes in another order': described(classes=json.dumps(CLASSES[::-1])),
}  # fmt: skip


@pytest.mark.parametrize('kind', cases([(kind,) for kind in SAME]))
def test_the_same_weights_in_another_file(
    bench, door, trained: Path, kind: str
) -> None:
    whole = trained / 'weights.safetensors'
    other = SAME[kind](bench.place, load_file(whole))
    expected = measured(bench, door, whole)
    assert expected is not None
    assert measured(bench, door, other) == expected


@pytest.mark.parametrize(
    'kind', cases([(kind,) for kind in REFUSED], quick=('one_NaN', 'code_in_a_zip'))
)
def test_wrong_weights(bench, door, trained: Path, kind: str) -> None:
    path = REFUSED[kind](bench.place, load_file(trained / 'weights.safetensors'))
    assert measured(bench, door, path) is None


@pytest.mark.parametrize(
    ('name', 'spoil', 'number'),
    cases(
        [
            *(('weights.safetensors', kind, n) for kind, n in rounds(BYTES)),
            *(('resume.pth', kind, n) for kind, n in rounds(BYTES)),
            *(('weights.safetensors', kind, 0) for kind in FILES),
        ]
    ),
)
def test_a_spoilt_checkpoint(bench, door, trained: Path, name, spoil, number) -> None:
    spoil(trained / name, rng_of(name, spoil.__name__, number))
    measured(bench, door, trained / name)


# The folder of a model, and what explains with it ---------------------------------------


def explained(bench: Bench, door: Door, *words: object, **options: Any) -> bool:
    """Whether ``explain.py`` drew its picture, which then can be decoded."""
    out = bench.place.parent / 'out.png'
    photo = options.pop('photo', bench.data / 'JPEGImages/c.jpg')
    ended = door(
        'explain', photo, '--method', 'cam', '--out', out, *words, kept=bench.place
    )  # fmt: skip
    if ended.refused:
        assert not out.exists()
        return False
    with Image.open(out) as image:
        image.load()
    return True


MODEL = dict(
    model=dict(
        type='wsss_plugins.classifiers.classifier.WSSSClassifier',
        backbone=dict(
            type='wsss_plugins.backbones.timm_vit.TimmViT',
            img_size=16, patch_size=8, embed_dim=8, depth=1, num_heads=2,
        ),
        head=dict(type='wsss_plugins.classifiers.head.TokenHead', num_classes=2),
    ),
    classes=list(CLASSES),
)  # fmt: skip
PLACES = {dotted(path): path for path in leaves(MODEL)}


@pytest.mark.slow
def test_the_folder_as_it_is(bench, door, trained: Path) -> None:
    (trained / 'model.json').write_text(json.dumps(MODEL))
    assert explained(bench, door, '--model', trained)


@pytest.mark.parametrize(
    ('place', 'value'),
    cases([(p, list(WRONG)[rng_of(p).integers(len(WRONG))]) for p in PLACES]),
)
def test_a_wrong_model(bench, door, trained: Path, place: str, value: str) -> None:
    content = replaced(MODEL, PLACES[place], WRONG[value])
    (trained / 'model.json').write_text(json.dumps(content, default=str))
    drawn = explained(bench, door, '--model', trained)
    assert not drawn or not place.endswith('type')


@pytest.mark.parametrize(
    'kind',
    cases(
        [
            (kind,)
            for kind in ('os.system', 'subprocess.run', 'Runner', 'builtins.eval')
        ],
    ),
)
def test_a_model_that_is_a_call(bench, door, trained: Path, kind: str) -> None:
    content = replaced(
        MODEL, ('model', 'backbone'), dict(type=kind, command='touch it_ran')
    )
    (trained / 'model.json').write_text(json.dumps(content))
    assert not explained(bench, door, '--model', trained)


@pytest.mark.parametrize(
    ('name', 'spoil', 'number'),
    cases(
        [
            *(('model.json', kind, n) for kind, n in rounds(BYTES)),
            *(('model.json', kind, 0) for kind in FILES),
            *(('names.txt', kind, n) for kind, n in rounds(BYTES)),
            *(('names.txt', kind, 0) for kind in FILES),
        ]
    ),
)
def test_a_spoilt_folder(bench, door, trained: Path, name, spoil, number) -> None:
    (trained / 'model.json').write_text(json.dumps(MODEL))
    (trained / 'names.txt').write_text('a cat\na dog\n')
    spoil(trained / name, rng_of(name, spoil.__name__, number))
    words = ('--class-names', trained / 'names.txt') if name == 'names.txt' else ()
    explained(bench, door, '--model', trained, *words)
