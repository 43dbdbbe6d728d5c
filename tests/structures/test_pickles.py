"""Pickles of other projects: what is read, and what is refused without being run."""

from __future__ import annotations

import builtins
import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from wsss_plugins.errors import DataError
from wsss_plugins.structures.pickles import load_pickled_npy, save_pickled_npy

CONTENT = {
    14: np.arange(6, dtype=np.float32).reshape(2, 3),
    np.int64(3): np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    'half': np.array([1, 0.5], np.float16),
    'big': np.arange(3, dtype='>i4'),
    'flag': np.array([True, False]),
    'keys': torch.tensor([7, 2]),
    'cam': torch.arange(120.0).reshape(4, 5, 6)[:, ::2, 1:],  # strided, with an offset
    'half tensor': torch.arange(3).half(),
    'number': np.float32(2.5),
    'list': [1, 2.5, 'x', None],
    'empty': np.zeros((0, 4)),
}


def same(found: object, given: object) -> bool:
    if isinstance(given, list):
        return found == given
    return np.array_equal(np.asarray(found), np.asarray(given))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / 'x.npy'


def refused(path: Path) -> str:
    with pytest.raises(DataError) as error:
        load_pickled_npy(path)
    message = str(error.value)
    assert '\n' not in message and str(path) in message
    return message


def pickled(path: Path, content: object) -> Path:
    """As ``numpy.save`` leaves a dict."""
    np.save(path, content)
    return path


@pytest.mark.parametrize('write', [pickled, save_pickled_npy])
def test_arrays_and_tensors_are_read(path, write) -> None:
    write(path, CONTENT)
    found = load_pickled_npy(path)
    assert list(found) == [int(k) if not isinstance(k, str) else k for k in CONTENT]
    for key, value in CONTENT.items():
        assert same(found[key if isinstance(key, str) else int(key)], value), key
    assert found['big'].dtype == np.int32 and found['half'].dtype == np.float16
    assert found['cam'].dtype == np.float32 and found['cam'].shape == (4, 3, 5)


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_is_read(path, protocol) -> None:
    content = {k: v for k, v in CONTENT.items() if k != 'list'}
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    found = load_pickled_npy(path)
    assert all(
        same(found[k if isinstance(k, str) else int(k)], v) for k, v in content.items()
    )


def test_names_of_both_numpys_are_read(path) -> None:
    """numpy 1 wrote numpy.core, numpy 2 writes numpy._core."""
    arrays = {0: np.arange(4.0)}
    data = pickle.dumps(arrays, protocol=2)  # names stand in it as they are
    assert (b'numpy._core' in data) != (b'numpy.core' in data)
    for name in (b'numpy.core', b'numpy._core'):
        path.write_bytes(
            data.replace(b'numpy._core', b'numpy.core').replace(b'numpy.core', name)
        )
        assert same(load_pickled_npy(path)[0], arrays[0])


def test_what_is_written_is_what_every_numpy_reads(path) -> None:
    save_pickled_npy(path, CONTENT)
    assert b'numpy._core' not in path.read_bytes()
    theirs = np.load(path, **{'allow_pickle': True}).item()
    for key, value in CONTENT.items():
        assert type(theirs[key]) is type(value) and same(theirs[key], value)
    assert [p.name for p in path.parent.iterdir()] == ['x.npy']


def test_bytes_that_look_like_a_name_are_left_alone(path) -> None:
    tricky = np.frombuffer(b'cnumpy._core.multiarray\n' * 3, np.uint8)
    save_pickled_npy(path, {1: tricky})
    assert same(load_pickled_npy(path)[1], tricky)


def test_a_file_of_python_2_is_read(path) -> None:
    """Bytes are text there: dtype float32, shape (1, 2)."""
    raw = ''.join(map(chr, np.array([1.5, -2], '<f4').tobytes()))
    text = ascii(raw).encode()
    path.write_bytes(
        b"(dI5\ncnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        b"(I1\n(I1\nI2\ntcnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
        b'I00\nS' + text + b'\ntbs.'
    )
    assert same(load_pickled_npy(path)[5], np.array([[1.5, -2]]))


def test_a_plain_array_needs_no_pickle(path) -> None:
    np.save(path, CONTENT[14])
    assert same(load_pickled_npy(path), CONTENT[14])


class Planted:
    """Has ``function(*arguments)`` called by whoever unpickles it."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ('function', 'arguments', 'name'),
    [
        (os.system, ('touch planted',), f'{os.name}.system'),
        (builtins.eval, ("open('planted', 'w')",), 'builtins.eval'),
        (builtins.exec, ("open('planted', 'w')",), 'builtins.exec'),
        (getattr, ('x', 'upper'), 'builtins.getattr'),
        (np.load, ('planted.npy',), 'numpy.load'),
        (np.fromfile, ('planted',), 'numpy'),
        (np.ma.masked_array, ([1],), 'numpy.ma'),
        (np.lib.stride_tricks.as_strided, (np.zeros(1), (9,), (8,)), 'as_strided'),
        (torch.load, ('planted',), 'torch.serialization.load'),
        (pickle.loads, (b'N.',), '_pickle.loads'),
        (OrderedDict.fromkeys, ('ab',), 'builtins.getattr'),
    ],
)
def test_a_planted_call_is_refused_and_not_run(
    path, function, arguments, name, monkeypatch
) -> None:
    monkeypatch.chdir(path.parent)
    for content in (
        {0: np.zeros((2, 2)), 1: Planted(function, *arguments)},
        {Planted(function, *arguments): 1},
        [Planted(function, *arguments)],
    ):
        pickled(path, content) if isinstance(content, dict) else path.write_bytes(
            pickle.dumps(content)
        )
        message = refused(path)
        assert f'asks for {name}' in message or (name in message), message
        assert 'only arrays and numbers are read' in message
    assert {p.name for p in path.parent.iterdir()} == {'x.npy'}


def test_the_planted_call_itself(path, monkeypatch) -> None:
    """Other readers do run it."""
    monkeypatch.chdir(path.parent)
    path.write_bytes(
        pickle.dumps(Planted(builtins.exec, "open('planted', 'w').close()"))
    )
    pickle.loads(path.read_bytes())
    assert Path('planted').is_file()


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        ({0: np.array([1, {}], dtype=object)}, 'an array of 2 objects'),
        ({0: np.array(['a'])}, "values of type 'U1'"),
        ({0: np.array([1], 'datetime64[s]')}, "values of type 'M8'"),
        ({0: np.zeros(1, [('a', 'i4')])}, "values of type 'V4'"),
        ({0: {1, 2}}, 'a set'),
        ({(1, 2): 3}, 'a tuple as a key'),
        ({0: b'bytes'}, 'a bytes'),
        ({0: 1j}, 'builtins.complex'),
        ({0: [[[[[[[[1]]]]]]]]}, 'more than 6 containers'),
        ({0: torch.nn.Parameter(torch.zeros(2))}, 'torch._utils._rebuild_parameter'),
        ({0: np.dtype('f4')}, 'a Dtype'),
        ({0: np.ndarray}, 'a Global'),
    ],
)
def test_other_things_are_refused(path, content, reason) -> None:
    assert f'asks for {reason}' in refused(pickled(path, content))


def test_an_array_of_several_objects_is_refused(path) -> None:
    np.save(path, np.array([{}, {}], dtype=object))
    assert 'an array (2,) of objects' in refused(path)


def test_what_refers_to_itself_is_refused(path) -> None:
    loop: dict = {}
    loop[0] = loop
    assert 'containers in one another' in refused(pickled(path, loop))


def test_shared_lists_take_no_time(path) -> None:
    """Lists of a thousand times the next one: 10^9 items, if each was looked at."""
    nested: list = [1.0]
    for _ in range(3):
        nested = [nested] * 1000
    assert len(load_pickled_npy(pickled(path, {0: nested}))[0]) == 1000


def test_a_function_cannot_be_changed_for_later_files(path) -> None:
    """BUILD on a global would set attributes of what stands for it."""
    for name in (b'numpy\ndtype', b'numpy\nndarray', b'torch\nFloatStorage'):
        path.write_bytes(b'c' + name + b"\n(dS'a'\nI1\nsb.")
        assert 'a changed' in refused(path)


def test_arrays_that_lie_about_their_size_are_refused(path) -> None:
    data = pickle.dumps({0: np.arange(4, dtype='<f4')}, protocol=2)
    more = data.replace(b'K\x04\x85', b'K\x05\x85', 1)  # shape (5,)
    assert more != data
    path.write_bytes(more)
    assert '16 bytes do not make an array (5,)' in refused(path)


def test_tensors_that_look_outside_their_storage_are_refused(path) -> None:
    data = pickle.dumps({0: torch.arange(4.0)}, protocol=2)
    # storage offset 0, size (4,), stride (1,)
    wrong = data.replace(b'K\x00K\x04\x85', b'K\x02K\x04\x85', 1)
    assert wrong != data
    path.write_bytes(wrong)
    assert 'out of bounds' in refused(path)


def test_damaged_files_are_named(path) -> None:
    assert 'does not exist' in refused(path)
    path.write_bytes(b'')
    assert 'cannot be read' in refused(path)
    pickled(path, CONTENT)
    whole = path.read_bytes()
    for length in (3, 40, 130, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert 'copy it again' in refused(path)
    path.write_bytes(b'\x93NUMPY\x01\x00' + struct.pack('<H', 9) + b'not a dict')
    assert 'cannot be read' in refused(path)
