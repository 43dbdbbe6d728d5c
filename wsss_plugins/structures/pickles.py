"""Pickled ``.npy`` files of other projects, read without running what is in them.

A pickle is a program: it names functions and has them called. Here only the names of
:data:`ALLOWED` are known, each stands for a function of this module that makes an array
or a number, and nothing of numpy or torch is called with what the file says except
``numpy.frombuffer`` on checked sizes.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from wsss_plugins.errors import DataError
from wsss_plugins.structures.files import atomic_path

DEEPEST = 6
"""Maximum nesting depth of containers."""


class _Refused(pickle.UnpicklingError):
    """The file asks for something other than arrays, numbers and containers of them."""


class _Dtype:
    """Stands for ``numpy.dtype`` until its byte order is known."""

    __slots__ = ('code', 'order')

    def __init__(self, code: str, *_: Any) -> None:
        if code[:1] not in 'biufO' or not code[1:].isdigit():
            raise _Refused(f'values of type {code!r}')
        self.code, self.order = code, '<'

    def __setstate__(self, state: Sequence[Any]) -> None:
        if state[1] not in ('<', '>', '|', '='):
            raise _Refused(f'the byte order {state[1]!r}')
        self.order = '<' if state[1] == '=' else state[1]

    @property
    def is_object(self) -> bool:
        """Whether the values are Python objects, rather than numbers."""
        return self.code[0] == 'O'

    def numpy(self) -> np.dtype:
        """The data type of numpy with the same code and byte order."""
        return np.dtype(self.order + self.code)


class _Array:
    """Stands for an array, a number or a tensor, which a pickle must not get hold of.

    It could change them by calls that numpy knows and this module does not.
    """

    __slots__ = ('value',)

    def __init__(self, value: Any = None) -> None:
        self.value = value

    def __setstate__(self, state: Sequence[Any]) -> None:
        _, shape, dtype, by_column, data = state
        if not isinstance(dtype, _Dtype):
            raise _Refused('an array without a type')
        if dtype.is_object:
            self.value = _only_element(shape, data)
        else:
            self.value = _array(data, dtype, shape, 'F' if by_column else 'C')


def _only_element(shape: Sequence[int], data: Any) -> Any:
    """The content of an array of objects, which ``numpy.save`` puts around a dict."""
    if math.prod(shape) != 1 or not isinstance(data, list) or len(data) != 1:
        raise _Refused(f'an array of {math.prod(shape)} objects')
    return data[0]


def _array(data: Any, dtype: _Dtype, shape: Sequence[int], order: str) -> np.ndarray:
    """An array of numbers from its bytes."""
    if isinstance(data, str):  # Python 2 wrote bytes as text
        data = data.encode('latin1')
    sides = [int(side) for side in shape]
    if dtype.is_object or min(sides, default=0) < 0:
        raise _Refused('an array of objects or of negative size')
    kind = dtype.numpy()
    if len(data) != math.prod(sides) * kind.itemsize:
        raise ValueError(f'{len(data)} bytes do not make an array {tuple(sides)}')
    flat = np.frombuffer(data, kind)
    found = flat.reshape(sides, order='F' if order == 'F' else 'C')
    return found.astype(kind.newbyteorder('='))


def _empty(*_: Any) -> _Array:
    """An array whose content follows."""
    return _Array()


def _scalar(dtype: _Dtype, data: Any) -> _Array:
    return _Array(_array(data, dtype, (), 'C')[()])


def _buffer(data: Any, dtype: _Dtype, shape: Sequence[int], order: str) -> _Array:
    return _Array(_array(bytes(data), dtype, shape, order))


def _encode(text: str, encoding: str = 'latin1') -> bytes:
    if encoding != 'latin1':
        raise _Refused(f'text as {encoding!r}')
    return text.encode('latin1')


def _no_bytes() -> bytes:
    """Of an empty array, in old pickles."""
    return b''


class _Kind:
    """Stands for a type of storage of torch, such as ``torch.FloatStorage``."""

    __slots__ = ('code',)

    def __init__(self, code: str) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        raise _Refused('a changed type')


def _storage(data: bytes) -> _Array:
    """The numbers of a torch tensor, ``(n,)``: five pickles, a length, and bytes."""
    stream = io.BytesIO(data)
    for _ in range(3):  # magic number, version, machine
        _Reader(stream).load()
    kind = _Reader(stream).load()
    _Reader(stream).load()  # its name
    if not isinstance(kind, _Kind):
        raise _Refused('a tensor without a type')
    dtype = np.dtype(kind.code)
    count = int.from_bytes(stream.read(8), 'little')
    content = stream.read()
    if len(content) != count * dtype.itemsize:
        raise ValueError(f'{len(content)} bytes do not make a tensor of {count} values')
    return _Array(np.frombuffer(content, dtype))


def _tensor(
    storage: _Array, offset: int, size: Sequence[int], stride: Sequence[int], *_: Any
) -> _Array:
    """A torch tensor as an array."""
    if not isinstance(storage, _Array) or not isinstance(storage.value, np.ndarray):
        raise _Refused('a tensor without content')
    # torch refuses indices outside of the storage.
    view = torch.from_numpy(storage.value.copy()).as_strided(
        [int(n) for n in size], [int(n) for n in stride], int(offset)
    )
    return _Array(view.numpy().copy())


def _nothing(*_: Any) -> dict[Any, Any]:
    """The hooks of a tensor, which has none."""
    return {}


_STORAGES = {
    'BoolStorage': '?',
    'ByteStorage': 'u1',
    'CharStorage': 'i1',
    'ShortStorage': '<i2',
    'IntStorage': '<i4',
    'LongStorage': '<i8',
    'HalfStorage': '<f2',
    'FloatStorage': '<f4',
    'DoubleStorage': '<f8',
}


def _names() -> dict[tuple[str, str], Any]:
    names: dict[tuple[str, str], Any] = {
        ('numpy', 'ndarray'): _nothing,
        ('numpy', 'dtype'): _Dtype,
        ('_codecs', 'encode'): _encode,
        ('torch._utils', '_rebuild_tensor_v2'): _tensor,
        ('torch.storage', '_load_from_bytes'): _storage,
        ('collections', 'OrderedDict'): _nothing,
    }
    for core in ('numpy.core', 'numpy._core'):  # of numpy 1 and 2
        names[f'{core}.multiarray', '_reconstruct'] = _empty
        names[f'{core}.multiarray', 'scalar'] = _scalar
        names[f'{core}.numeric', '_frombuffer'] = _buffer
    for module in ('builtins', '__builtin__'):
        for kind in (dict, list, tuple, int, float, bool, str):
            names[module, kind.__name__] = kind
        names[module, 'bytes'] = _no_bytes
    for name, code in _STORAGES.items():
        names['torch', name] = _Kind(code)
    return names


ALLOWED: Mapping[tuple[str, str], Any] = MappingProxyType(_names())
"""What a file may name, as (module, name), and what is taken for it."""


class _Global:
    """A name of :data:`ALLOWED` in a pickle: it can be called, and nothing else."""

    __slots__ = ('_function',)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise _Refused('a changed function')


class _Reader(pickle.Unpickler):
    """An unpickler that knows the names of :data:`ALLOWED` and no others."""

    def __init__(self, file: Any) -> None:
        super().__init__(file, encoding='latin1')

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name of a pickle.

        Raises:
            _Refused: The name is not in :data:`ALLOWED`.
        """
        known = ALLOWED.get((module, name))
        if known is None:
            raise _Refused(f'{module}.{name}')
        return known if isinstance(known, _Kind) else _Global(known)

    def persistent_load(self, pid: Any) -> _Kind:
        """The type of the numbers of a torch tensor; only torch asks for it."""
        if pid[0] != 'storage' or not isinstance(pid[1], _Kind):
            raise _Refused('an object outside the file')
        return pid[1]


def load_pickled_npy(path: Path | str) -> Any:
    """Reads a ``.npy`` or a pickle of arrays, numbers and containers of them.

    Arrays of numpy 1 and 2 and tensors of torch become arrays. Nothing that the file
    asks for is run.

    Args:
        path: What ``numpy.save`` wrote of a dict or of an array, or a plain pickle.

    Returns:
        Dicts, lists, numbers, text and arrays of numbers.

    Raises:
        DataError: The file is missing, damaged, or asks for anything else; the message
            names the file.
    """
    try:
        with Path(path).open('rb') as file:
            return _plain(_content(file))
    except FileNotFoundError as error:
        raise DataError(f'{path} does not exist') from error
    except _Refused as error:
        raise DataError(
            f'{path} is refused: it asks for {error}, and only arrays and numbers are '
            'read from a pickle; save it again as a dict of arrays'
        ) from error
    except Exception as error:  # a damaged pickle raises anything
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise DataError(f'{path} cannot be read ({reason}): copy it again') from error


def _content(file: Any) -> Any:
    """What a file holds, before stand-ins are replaced."""
    if file.read(6) != b'\x93NUMPY':
        file.seek(0)
        return _Reader(file).load()
    file.seek(0)
    version = np.lib.format.read_magic(file)
    headers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in headers:
        raise ValueError(f'version {version} of the format is not known')
    shape, _, dtype = headers[version](file)
    if dtype.hasobject:
        if dtype != np.dtype('O') or math.prod(shape) != 1:
            raise _Refused(f'an array {shape} of objects')
        return _Reader(file).load()
    file.seek(0)
    return np.load(file, allow_pickle=False)


def _plain(value: Any, depth: int = 0, known: dict[int, Any] | None = None) -> Any:
    """``value`` with arrays in place of what stands for them."""
    known = {} if known is None else known  # what lies in many places is made once
    if depth > DEEPEST:
        raise _Refused(f'more than {DEEPEST} containers in one another')
    if isinstance(value, _Array):
        return _plain(value.value, depth + 1, known)
    if isinstance(value, (dict, list, tuple)):
        if id(value) not in known:
            items = value.values() if isinstance(value, dict) else value
            made = [_plain(each, depth + 1, known) for each in items]
            if isinstance(value, dict):
                made = dict(zip(map(_key, value), made, strict=True))  # type: ignore
            known[id(value)] = made
        return known[id(value)]
    if value is None or isinstance(value, (int, float, str, np.ndarray, np.generic)):
        return value
    raise _Refused(f'a {type(value).__name__.strip("_")}')


def _key(key: Any) -> int | float | str:
    """The key of a dict, numpy's integers as Python's."""
    if isinstance(key, _Array):
        key = key.value
    if isinstance(key, np.integer):
        return int(key)
    if isinstance(key, (int, float, str)):
        return key
    raise _Refused(f'a {type(key).__name__.strip("_")} as a key')


def save_pickled_npy(path: Path | str, content: Mapping[Any, Any]) -> None:
    """Writes a dict as ``numpy.save`` of any version does, whole or not at all.

    Other projects read it with ``numpy.load(path, allow_pickle=...).item()``. The names
    in it are those of numpy 1, which numpy 2 knows too; the reverse is not so.

    Args:
        path: The ``.npy`` file.
        content: Arrays, tensors and numbers by class id or by name.
    """
    box = np.empty((), dtype=object)
    box[()] = dict(content)
    data = _with_old_names(pickle.dumps(box, protocol=3))
    with atomic_path(path) as part, part.open('wb') as file:
        header = dict(descr='|O', fortran_order=False, shape=())
        np.lib.format.write_array_header_1_0(file, header)
        file.write(data)


def _with_old_names(data: bytes) -> bytes:
    """A pickle of protocol 3 with ``numpy.core`` wherever it says ``numpy._core``."""
    new, old = b'cnumpy._core.', b'cnumpy.core.'
    parts, begin = [], 0
    for code, _, place in pickletools.genops(data):
        if code.name == 'GLOBAL' and data.startswith(new, place):
            parts += [data[begin:place], old]
            begin = (place or 0) + len(new)
    return b''.join([*parts, data[begin:]])
