"""The kinds of values in a config: arguments of plug-ins, and keys of a training.

Names and kinds of arguments are read off the constructor of the plug-in. A misspelt name
and a text in place of a number are thus refused before any work begins.
"""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from torch import nn

from wsss_plugins.errors import ConfigError, near_names

PACKAGE = __name__.partition('.')[0]
NO_ARGUMENTS = ('type', '_scope_')
"""Keys of a config that say what is built, and are no argument of it."""
LONGEST = 60
"""Characters of a value that a message shows."""


_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
_DICTS = (
    'default_hooks', 'model', 'optim_wrapper', 'optim_wrapper.optimizer', 'prediction',
    'pretrained', 'test_cfg', 'train_cfg', 'val_cfg', 'visualizer', *_LOADERS,
    *(f'{loader}.dataset' for loader in _LOADERS),
)  # fmt: skip
SHAPES: dict[str, tuple[type, ...]] = dict.fromkeys(_DICTS, (dict,)) | {
    'custom_hooks': (list,),
    'load_from': (str,),
    'param_scheduler': (dict, list),
    'val_evaluator': (dict, list),
}
"""What a dotted key of a training config must be, where it is not None."""


def check_shapes(cfg: Any) -> None:
    """Refuses a training config with a text where a dict belongs.

    Args:
        cfg: A config; keys of :data:`SHAPES` that it lacks are not missed.

    Raises:
        ConfigError: A value is of another kind than :data:`SHAPES` says.
    """
    for key, shapes in SHAPES.items():
        value, part = cfg, ''
        for part in key.split('.'):
            value = value.get(part) if hasattr(value, 'get') else None
        if value is not None and not isinstance(value, shapes):
            names = ' or '.join(f'a {shape.__name__}' for shape in shapes)
            raise ConfigError(
                f'{key} must be {names}, not {shown_value(value)}', token=part
            )


def check_seed(seed: Any) -> None:
    """Refuses a random seed that the generators do not take.

    Raises:
        ConfigError: ``seed`` is no whole number from 0 to 2**32 - 1.
    """
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise ConfigError(
            f'seed must be a whole number from 0 to {2**32 - 1}, not {shown_value(seed)}',
            token='seed',
        )


def parameters_of(cls: Any) -> set[str] | None:
    """Keyword names that ``cls`` accepts, or None when it accepts any.

    ``**kwargs`` is followed up the inheritance chain to the first class that has
    none; a class that names them otherwise (``**arch``) checks them itself.
    """
    names: set[str] = set()
    chain = _constructors(cls)
    for function in chain:
        names.update(_named(function))
        rest = [
            p.name
            for p in inspect.signature(function).parameters.values()
            if p.kind is p.VAR_KEYWORD
        ]
        if not rest:
            return names - {'self'}
        if rest != ['kwargs']:
            return None
    return None if chain else set()


def _constructors(cls: Any) -> list[Any]:
    """The constructors of a class and of its bases, the nearest first; a callable itself."""
    if not inspect.isclass(cls):
        return [cls]
    return [
        c.__dict__['__init__']
        for c in cls.__mro__
        if '__init__' in c.__dict__ and c not in (object, nn.Module)
    ]


def _named(function: Any) -> dict[str, inspect.Parameter]:
    """The parameters of a function that can be given by name."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(function).parameters
    return {name: p for name, p in parameters.items() if p.kind in kinds}


def check_names(
    cls: Any, given: Mapping[str, Any], also: Collection[str] = frozenset()
) -> None:
    """Refuses keys that ``cls`` does not take.

    Args:
        cls: A class or another callable.
        given: Its config.
        also: Keys that somebody else takes out before ``cls`` sees them.

    Raises:
        ConfigError: A key is misspelt; the message lists near names.
    """
    allowed = parameters_of(cls)
    if allowed is None:
        return
    for key in given:
        if key not in allowed and key not in also and key not in NO_ARGUMENTS:
            name = getattr(cls, '__name__', str(cls))
            raise ConfigError(
                f"{name} takes no argument '{key}': {near_names(str(key), allowed)}",
                token=str(key),
            )


def check_arguments(
    cls: Any, given: Mapping[str, Any], also: Collection[str] = frozenset()
) -> None:
    """Refuses keys that ``cls`` does not take, and values of another kind.

    Values are compared with the annotations of constructors of this package; what other
    packages annotate is not relied on.

    Args:
        cls: See :func:`check_names`.
        given: See :func:`check_names`.
        also: See :func:`check_names`.

    Raises:
        ConfigError: A key is misspelt, or a value is of a kind that the argument does not
            take; the message lists near names, or says the kind.
    """
    check_names(cls, given, also)
    kinds = _kinds_of(cls)
    for key, value in given.items():
        if key in kinds and not fits(value, kinds[key][0]):
            name = getattr(cls, '__name__', str(cls))
            raise ConfigError(
                f'{key} of {name} must be {kinds[key][1]}, not {shown_value(value)}',
                token=str(key),
            )


def check_complete(cls: Any, given: Mapping[str, Any]) -> None:
    """Refuses a config that leaves out what ``cls`` itself must be given.

    Raises:
        ConfigError: ``given`` lacks an argument without a default.
    """
    missing = [
        p.name
        for p in inspect.signature(cls).parameters.values()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        and p.default is p.empty
        and p.name not in given
    ]
    if missing:
        name = getattr(cls, '__name__', str(cls))
        names = ', '.join(f"'{word}'" for word in missing)
        raise ConfigError(f'{name} needs also {names}', token=name)


@cache
def _kinds_of(cls: Any) -> dict[str, tuple[Any, str]]:
    """Kind of each argument that this package annotates, and the words for it."""
    found: dict[str, tuple[Any, str]] = {}
    for function in _constructors(cls):
        if str(getattr(function, '__module__', '')).partition('.')[0] != PACKAGE:
            continue
        try:
            hints = get_type_hints(function)
        except NameError:  # a name that is imported for type checking alone
            continue
        for name, parameter in _named(function).items():
            if name in hints:
                words = str(parameter.annotation)
                found.setdefault(name, (hints[name], words))
    return found


def fits(value: Any, kind: Any) -> bool:
    """Whether a value of a config is of the kind that an annotation asks for.

    A whole number is a number too, and NaN is none; True and False are no numbers. A list
    may stand for a tuple. Where an object is asked for, its config does as well. Kinds
    that are not known here fit every value.

    Args:
        value: The value.
        kind: A type, or an annotation made of types.
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return any(fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if kind is None or kind is types.NoneType:
        return value is None
    if kind in _SIMPLE:
        return _SIMPLE[kind](value)
    kind = origin or kind
    if kind is tuple:
        return isinstance(value, list | tuple) and _as_tuple(value, parts)
    if inspect.isclass(kind) and issubclass(kind, Mapping):
        return isinstance(value, Mapping) and (
            not parts or _all_fit(value.values(), parts[1])
        )
    if inspect.isclass(kind) and issubclass(kind, Iterable):
        return (
            isinstance(value, Collection)
            and not isinstance(value, str | bytes | Mapping)
            and (not parts or _all_fit(value, parts[0]))
        )
    return _is_instance(value, kind)


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, Real)
        and not isinstance(value, bool)
        and not (isinstance(value, float) and math.isnan(value))
    )


_SIMPLE = {
    bool: lambda value: isinstance(value, bool),
    int: lambda value: isinstance(value, Integral) and not isinstance(value, bool),
    float: _is_number,
    str: lambda value: isinstance(value, str),
    Path: lambda value: isinstance(value, str | Path),
}


def _all_fit(values: Iterable[Any], kind: Any) -> bool:
    return all(fits(value, kind) for value in values)


def _as_tuple(values: Collection[Any], parts: tuple[Any, ...]) -> bool:
    if not parts or Ellipsis in parts:
        return not parts or _all_fit(values, parts[0])
    return len(values) == len(parts) and all(map(fits, values, parts))


def _is_instance(value: Any, kind: Any) -> bool:
    """Whether ``value`` is an object of a class, or may become one."""
    if not inspect.isclass(kind) or isinstance(value, Mapping):
        return True
    try:
        return isinstance(value, kind)
    except TypeError:  # of a protocol
        return True


def shown_value(value: Any) -> str:
    """A value for a message, shortened."""
    try:
        text = ' '.join(repr(value).split())
    except ValueError:  # a number of thousands of digits
        return f'a {type(value).__name__}'
    return text if len(text) <= LONGEST else f'{text[: LONGEST - 3]}...'
