"""Kinds of values of a config, compared with the annotations of constructors."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from wsss_plugins.arguments import check_arguments, fits, shown_value
from wsss_plugins.config import BUILDER_KEYS, load_config, typed_nodes
from wsss_plugins.errors import ConfigError
from wsss_plugins.experiment.matrix import Matrix, Plan
from wsss_plugins.experiment.names import named_stages
from wsss_plugins.registry import (
    DATASETS,
    MODELS,
    REFINERS,
    SEED_HEADS,
    STAGES,
    build_as,
    find_type,
    plugin_names,
)

NAN = float('nan')


@pytest.mark.parametrize(
    ('kind', 'right', 'wrong'),
    [
        (int, [0, -3, np.int64(2)], [True, 0.5, '1', None, NAN]),
        (float, [0, 0.5, np.float32(1), float('inf')], [False, '0.5', NAN, 1j, None]),
        (bool, [True, False], [1, 0, 'x', None]),
        (str, ['', 'a'], [1, None, ['a'], b'a']),
        (Path, ['a', Path('a')], [1, None]),
        (int | None, [1, None], ['x', 0.5]),
        (Literal['a', 'b'], ['a'], ['c', 1, None, ['a']]),
        (Sequence[int], [[], [1], (1, 2)], ['12', 1, [1, 'a'], {1: 1}, None]),
        (Collection[str], [['a'], {'a'}], ['a', [1]]),
        (tuple[int, int], [(1, 2), [1, 2]], [(1,), (1, 2, 3), (1, 'a'), 1]),
        (tuple[int, ...], [(), (1, 2, 3)], [(1, None)]),
        (dict[str, Any], [{}, {'a': 1}], [[], 'a', None]),
        (Mapping[int, int], [{0: 255}], [{0: 'x'}]),
        (Sequence[dict[str, Any]], [[{}]], [['x'], {}]),
        (np.random.Generator, [{}, np.random.default_rng()], ['x', 5]),
        (Any, [None, 1, 'x'], []),
    ],
)
def test_what_fits(kind: Any, right: list[Any], wrong: list[Any]) -> None:
    assert [value for value in right if not fits(value, kind)] == []
    assert [value for value in wrong if fits(value, kind)] == []


class Theirs:
    """Of another package, whose annotations are not relied on."""

    def __init__(self, size: int = 1) -> None:
        self.size = size


class Failing:
    def __init__(self) -> None:
        raise ZeroDivisionError('of\nnothing')


def test_the_message_names_argument_kind_and_value() -> None:
    kind = find_type('RefineStage', STAGES)
    with pytest.raises(ConfigError) as caught:
        check_arguments(kind, dict(type='RefineStage', workers='x' * 100))
    assert str(caught.value) == (
        f"workers of RefineStage must be int | None, not '{'x' * 56}..."
    )
    assert caught.value.token == 'workers'
    check_arguments(Theirs, dict(size='x'))
    assert shown_value(10**5000) == 'a int'


def test_a_constructor_that_fails_is_one_line(monkeypatch) -> None:
    monkeypatch.setattr(REFINERS, '_module_dict', {**REFINERS._module_dict})
    REFINERS.register_module(module=Failing)
    with pytest.raises(ConfigError, match='Failing cannot be built, ZeroDiv') as caught:
        build_as(REFINERS, dict(type='Failing'), Failing)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('registry', [STAGES, REFINERS, SEED_HEADS, DATASETS, MODELS])
def test_defaults_are_of_their_kind(registry) -> None:
    """What constructors annotate is true of their own defaults."""
    checked = 0
    for name in plugin_names(registry):
        kind = find_type(name, registry)
        if not inspect.isclass(kind) or not kind.__module__.startswith('wsss_plugins'):
            continue
        given = {
            key: parameter.default
            for key, parameter in inspect.signature(kind).parameters.items()
            if parameter.default is not parameter.empty
        }
        check_arguments(kind, given)
        checked += len(given)
    assert checked > 10


CONFIGS = sorted(
    path
    for path in (Path(__file__).parents[1] / 'configs').rglob('*.py')
    if '_base_' not in path.parts
)


@pytest.mark.slow
def test_every_value_of_our_configs_is_of_its_kind() -> None:
    """All mistakes at once, where the check of a config ends at the first."""
    wrong = set()
    for path in CONFIGS:
        cfg = load_config(path)
        cfg = Plan(Matrix.of(cfg)).config(cfg.filename) if 'matrix' in cfg else cfg
        for node in typed_nodes(
            named_stages(cfg) if 'pipeline' in cfg else cfg.to_dict()
        ):
            kind = find_type(node['type'])
            for key, value in node.items():
                if inspect.isclass(kind) and (key, value) != ('num_classes', None):
                    try:
                        check_arguments(kind, {key: value}, BUILDER_KEYS)
                    except ConfigError as error:
                        wrong.add(f'{path.name}: {error}')
    assert wrong == set()
