"""Plug-ins of other packages are found by their entry points, when they are asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wsss_plugins.errors import ConfigError
from wsss_plugins.plugins import GROUP, load_plugins
from wsss_plugins.registry import (
    REFINERS,
    SEED_HEADS,
    find_type,
    plugin_names,
    registered,
)

MODULE = """
from wsss_plugins.registry import SEED_HEADS
from wsss_plugins.seeds import CAM

@SEED_HEADS.register_module()
class HeadOfAnother(CAM):
    pass
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable]:
    """Puts a package with one module and an entry point on the search path."""

    def add(name: str, text: str) -> None:
        (tmp_path / f'{name}.py').write_text(text)
        info = tmp_path / f'{name}-1.0.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text(
            f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n'
        )
        (info / 'entry_points.txt').write_text(f'[{GROUP}]\nheads = {name}\n')

    monkeypatch.syspath_prepend(tmp_path)
    load_plugins.cache_clear()
    yield add
    load_plugins.cache_clear()
    SEED_HEADS.module_dict.pop('HeadOfAnother', None)
    for name in ('heads_of_another', 'broken_heads'):
        sys.modules.pop(name, None)


def test_a_name_of_another_package_is_found(install) -> None:
    install('heads_of_another', MODULE)
    assert find_type('CAM').__name__ == 'CAM'
    assert 'heads_of_another' not in sys.modules, 'ours need no other package'
    found = find_type('HeadOfAnother', SEED_HEADS)
    assert found.__module__ == 'heads_of_another'
    assert 'HeadOfAnother' in plugin_names(SEED_HEADS)
    assert registered('heads_of_another.HeadOfAnother') is found


def test_names_of_another_package_are_listed(install) -> None:
    install('heads_of_another', MODULE)
    assert 'HeadOfAnother' in plugin_names(SEED_HEADS)
    assert 'HeadOfAnother' not in plugin_names(REFINERS)


def test_a_part_of_a_model_is_found(install) -> None:
    install('heads_of_another', MODULE)
    assert registered('HeadOfAnother').__module__ == 'heads_of_another'


def test_a_broken_package_is_named_in_one_line_and_left_out(install, capsys) -> None:
    install('broken_heads', 'import a_module_that_is_not_there\n')
    install('heads_of_another', MODULE)
    assert find_type('HeadOfAnother').__module__ == 'heads_of_another'
    with pytest.raises(
        ConfigError, match="unknown seed head 'HeadOfAnothr': did you mean"
    ):
        find_type('HeadOfAnothr', SEED_HEADS)
    assert capsys.readouterr().err == (
        "warning: the plug-ins 'heads' of broken_heads are left out, since broken_heads "
        'cannot be imported: ModuleNotFoundError: No module named '
        "'a_module_that_is_not_there'\n"
    )
