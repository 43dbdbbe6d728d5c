"""What can be wrong with a file: seeded changes of bytes, of files and of pictures."""

from __future__ import annotations

import os
import pickle
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doors import TRACE
from PIL import Image

SEED = int(os.environ.get('WSSS_FUZZ_SEED', 0))
"""Another number gives another campaign of the same kinds."""
ROUNDS = int(os.environ.get('WSSS_FUZZ_ROUNDS', 1))
"""How often each kind of random change is tried."""
SHARE = float(os.environ.get('WSSS_FUZZ_SHARE', 0.5))
"""Share of the cases that are tried; another seed draws others."""

TRIED: list[str] = []
"""Ids of the cases that are tried, of all files of tests that have been imported."""

Spoil = Callable[[Path, np.random.Generator], None]


def rng_of(*words: object) -> np.random.Generator:
    """Random numbers of one case, the same on every machine."""
    text = '/'.join(map(str, (SEED, *words)))
    return np.random.default_rng(zlib.crc32(text.encode()))


def cases(rows: Iterable[tuple[Any, ...]], quick: Iterable[str] = ()) -> list[Any]:
    """Parameters of a test: rows whose id is not in ``quick`` are slow, and a share of all."""
    quick, found = set(quick), []
    for row in rows:
        name = '-'.join(
            str(getattr(word, '__name__', word)).strip('_').replace(' ', '_')
            for word in row
        )
        if name not in quick and rng_of('share', name).random() >= SHARE:
            continue
        marks = () if name in quick else pytest.mark.slow
        found.append(pytest.param(*row, id=name, marks=marks))
        TRIED.append(name)
        quick.discard(name)
    assert not quick, f'no such cases: {quick}'
    return found


def rounds(kinds: Iterable[Any]) -> list[tuple[Any, int]]:
    """Every kind with the number of its round."""
    return [(kind, number) for kind in kinds for number in range(ROUNDS)]


# Bytes ---------------------------------------------------------------------------------


def empty(path: Path, rng: np.random.Generator) -> None:
    path.write_bytes(b'')


def cut(path: Path, rng: np.random.Generator) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: rng.integers(1, max(2, len(data)))])


def cut_at_the_end(path: Path, rng: np.random.Generator) -> None:
    path.write_bytes(path.read_bytes()[: -rng.integers(1, 4)])


def flip_a_bit(path: Path, rng: np.random.Generator) -> None:
    data = bytearray(path.read_bytes())
    data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    path.write_bytes(data)


def flip_bytes(path: Path, rng: np.random.Generator) -> None:
    data = bytearray(path.read_bytes())
    for place in rng.integers(len(data), size=8):
        data[place] = rng.integers(256)
    path.write_bytes(data)


def flip_the_head(path: Path, rng: np.random.Generator) -> None:
    data = bytearray(path.read_bytes())
    for place in rng.integers(min(64, len(data)), size=4):
        data[place] = rng.integers(256)
    path.write_bytes(data)


def lose_a_piece(path: Path, rng: np.random.Generator) -> None:
    data = path.read_bytes()
    begin, end = sorted(rng.integers(len(data) + 1, size=2))
    path.write_bytes(data[:begin] + data[end:])


def double_a_piece(path: Path, rng: np.random.Generator) -> None:
    data = path.read_bytes()
    begin, end = sorted(rng.integers(len(data) + 1, size=2))
    path.write_bytes(data[:end] + data[begin:])


def zeros_inside(path: Path, rng: np.random.Generator) -> None:
    data = bytearray(path.read_bytes())
    begin, end = sorted(rng.integers(len(data) + 1, size=2))
    data[begin:end] = bytes(end - begin)
    path.write_bytes(data)


def more_at_the_end(path: Path, rng: np.random.Generator) -> None:
    path.write_bytes(path.read_bytes() + rng.bytes(100))


def noise(path: Path, rng: np.random.Generator) -> None:
    path.write_bytes(rng.bytes(500))


def code(path: Path, rng: np.random.Generator) -> None:
    path.write_bytes(pickle.dumps(Planted(path.parent / TRACE)))


BYTES: tuple[Spoil, ...] = (
    empty, cut, cut_at_the_end, flip_a_bit, flip_bytes, flip_the_head, lose_a_piece,
    double_a_piece, zeros_inside, more_at_the_end, noise, code,
)  # fmt: skip


class Planted:
    """Makes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


# Files ---------------------------------------------------------------------------------


def missing(path: Path, rng: np.random.Generator) -> None:
    path.unlink() if path.is_file() else path.rename(path.with_name('elsewhere'))


def in_its_place(path: Path, make: Callable[[Path], object]) -> None:
    """Moves a file or folder away and makes something else of its name."""
    path.rename(path.with_name(f'{path.name}.elsewhere'))
    make(path)


def folder_in_its_place(path: Path, rng: np.random.Generator) -> None:
    in_its_place(path, Path.mkdir)


def file_in_its_place(path: Path, rng: np.random.Generator) -> None:
    in_its_place(path, Path.touch)


def link_to_itself(path: Path, rng: np.random.Generator) -> None:
    in_its_place(path, lambda p: p.symlink_to(p.name))


def link_to_nothing(path: Path, rng: np.random.Generator) -> None:
    in_its_place(path, lambda p: p.symlink_to('nowhere'))


def link_to_a_device(path: Path, rng: np.random.Generator) -> None:
    in_its_place(path, lambda p: p.symlink_to('/dev/zero'))


def pipe(path: Path, rng: np.random.Generator) -> None:
    in_its_place(path, lambda p: os.mkfifo(p))


def other_file(path: Path, rng: np.random.Generator) -> None:
    """The next file of the folder under its name, as after a mistake in renaming."""
    others = sorted(p for p in path.parent.iterdir() if p != path and p.is_file())
    path.write_bytes(others[rng.integers(len(others))].read_bytes())


FILES: tuple[Spoil, ...] = (
    missing, folder_in_its_place, link_to_itself, link_to_nothing, link_to_a_device,
    pipe, other_file,
)  # fmt: skip
FOLDERS: tuple[Spoil, ...] = (
    missing, file_in_its_place, folder_in_its_place, link_to_itself, link_to_nothing, pipe,
)  # fmt: skip


# Pictures ------------------------------------------------------------------------------


def _again(
    path: Path, change: Callable[[Image.Image], Image.Image], **how: Any
) -> None:
    with Image.open(path) as image:
        image.load()
        changed = change(image)
    changed.save(path, format=how.pop('format', 'PNG'), **how)


def in_mode(mode: str) -> Spoil:
    """Saves a picture in another mode of Pillow."""

    def spoil(path: Path, rng: np.random.Generator) -> None:
        kind = 'TIFF' if mode in ('CMYK', 'F', 'LAB', 'I') else 'PNG'
        base = 'L' if mode in ('I;16', 'I', 'F', '1', 'LA') else 'RGB'
        _again(path, lambda i: i.convert(base).convert(mode), format=kind)

    spoil.__name__ = f'mode {mode}'.replace(';', '_')
    return spoil


def other_size(path: Path, rng: np.random.Generator) -> None:
    size = tuple(int(s) for s in rng.integers(1, 40, 2))
    _again(path, lambda i: i.resize(size, Image.Resampling.NEAREST))


def one_pixel(path: Path, rng: np.random.Generator) -> None:
    _again(path, lambda i: i.resize((1, 1)))


def turned(path: Path, rng: np.random.Generator) -> None:
    exif = Image.Exif()
    exif[0x0112] = int(rng.integers(5, 9))
    _again(path, lambda i: i, exif=exif)


def broken_exif(path: Path, rng: np.random.Generator) -> None:
    _again(path, lambda i: i, exif=b'Exif\0\0MM\0*' + rng.bytes(40))


def huge_header(path: Path, rng: np.random.Generator) -> None:
    """30,000 x 30,000 pixels, says the header, and there are none."""
    path.write_bytes(_png((30_000, 30_000), b''))


def endless_header(path: Path, rng: np.random.Generator) -> None:
    path.write_bytes(_png((2**31 - 1, 2**31 - 1), b''))


def no_pixels(path: Path, rng: np.random.Generator) -> None:
    path.write_bytes(_png((0, 0), b''))


def other_palette(path: Path, rng: np.random.Generator) -> None:
    """The same indices under random colours."""
    with Image.open(path) as image:
        changed = image.convert('P') if image.mode != 'P' else image.copy()
    changed.putpalette(rng.integers(0, 256, 768).tolist())
    changed.save(path, format='PNG')


def frames(path: Path, rng: np.random.Generator) -> None:
    with Image.open(path) as image:
        first = image.convert('P')
    first.save(path, format='GIF', save_all=True, append_images=[first.rotate(90)])


def _png(size: tuple[int, int], data: bytes) -> bytes:
    """A grey PNG of 8 bits: header, pixels, end."""

    head = struct.pack('>IIBBBBB', *size, 8, 0, 0, 0, 0)
    body = chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(data))
    return b'\x89PNG\r\n\x1a\n' + body + chunk(b'IEND', b'')


def chunk(name: bytes, content: bytes) -> bytes:
    """A part of a PNG."""
    check = struct.pack('>I', zlib.crc32(name + content))
    return struct.pack('>I', len(content)) + name + content + check


PICTURES: tuple[Spoil, ...] = (
    *map(in_mode, ('CMYK', 'RGBA', 'LA', '1', 'I;16', 'I', 'F')), other_size, one_pixel,
    turned, broken_exif, huge_header, endless_header, no_pixels, other_palette, frames,
)  # fmt: skip


# Values --------------------------------------------------------------------------------

WRONG: Mapping[str, Any] = {
    'None': None, 'True': True, 'text': 'x', 'empty text': '', 'minus one': -1, 'zero': 0,
    'huge': 10**30, 'half': 0.5, 'NaN': float('nan'), 'infinity': float('inf'),
    'empty list': [], 'list': [1, 'a', None], 'empty dict': {}, 'dict': {'type': 'CAM'},
    'bytes': b'x', 'outside': '../../x', 'long': 'x' * 5000, 'control': 'a\x1b[2J\nb',
    'code': "__import__('os').system('touch it_ran')", 'set': {1},
    'deep': [[[[[[[['a']]]]]]]],
}  # fmt: skip
"""Values of every kind, of which a place takes few."""


def leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterable[tuple[Any, ...]]:
    """The keys that lead to every value of nested dicts and lists, and to every container."""
    if path:
        yield path
    if isinstance(node, dict | list):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in items:
            yield from leaves(value, (*path, key))


def dotted(path: tuple[Any, ...]) -> str:
    """A place as the command line says it."""
    return '.'.join(map(str, path))


def replaced(node: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of nested dicts and lists with another value at one place."""
    if not path:
        return value
    copy = dict(node) if isinstance(node, dict) else list(node)
    copy[path[0]] = replaced(node[path[0]], path[1:], value)
    return copy


def without(node: Any, path: tuple[Any, ...]) -> Any:
    """A copy of nested dicts and lists that lacks one place."""
    copy = dict(node) if isinstance(node, dict) else list(node)
    if len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = without(node[path[0]], path[1:])
    return copy
