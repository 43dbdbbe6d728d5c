"""The page on views: its names, its plug-in and its check."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
import torch

from wsss_plugins.classifiers import ACRClassifier
from wsss_plugins.cli import parse_options
from wsss_plugins.config import check_config, load_config
from wsss_plugins.losses import VIEWS, RandomView, View, ViewChain, build_view
from wsss_plugins.registry import MODELS, build_as

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / 'docs/how-to/add_a_view.md').read_text('utf-8')
CHOICES, PLUG_IN, CONFIG, CHECK = re.findall(
    r'^```python\n(.*?)^```', PAGE, re.M | re.S
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The files of the page, importable, and forgotten afterwards."""
    (tmp_path / 'my_view.py').write_text(PLUG_IN)
    (tmp_path / 'configs/mine').mkdir(parents=True)
    (tmp_path / 'configs/mine/rolled.py').write_text(CONFIG)
    for name in ('acr', '_base_'):
        (tmp_path / 'configs' / name).symlink_to(ROOT / 'configs' / name)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop('my_view', None)
    MODELS.module_dict.pop('RollView', None)


def test_every_name_is_in_the_table() -> None:
    table = PAGE.split('|---|---|')[1].split('\n\n')[0]
    named = re.findall(r"`'(\w+)'`", table)
    assert sorted(named) == sorted(VIEWS)


def test_the_choices() -> None:
    values = [ast.unparse(node.value) for node in ast.parse(CHOICES).body]
    assert len(values) == 5
    assert all(isinstance(build_view(eval(value)), View) for value in values)


def test_the_commands() -> None:
    config, tail = ROOT / 'configs/acr/synthetic.py', '--cfg-options '
    (shell,) = re.findall(r'^```bash\n(.*?)^```', PAGE, re.M | re.S)
    given = [line.split(tail)[1].split() for line in shell.splitlines()]
    kinds = []
    for options in given:
        cfg = load_config(config, parse_options(options))
        kinds.append(type(build_as(MODELS, cfg.model, ACRClassifier).view))
    assert kinds == [RandomView, ViewChain]


def test_the_view_of_ones_own(here) -> None:
    assert PLUG_IN.startswith('# my_view.py\n')
    assert len(PLUG_IN.strip().splitlines()) <= 26, 'a name and 25 lines'
    exec(compile(CHECK, 'add_a_view.md', 'exec'), {})


def test_a_config_with_it(here) -> None:
    assert CONFIG.startswith('# configs/mine/rolled.py\n')
    cfg = load_config(here / 'configs/mine/rolled.py')
    check_config(cfg.to_dict())
    model = build_as(MODELS, cfg.model, ACRClassifier)
    losses = model.loss(torch.randn(2, 3, 64, 64), torch.eye(6)[:2])
    assert losses['loss_act'] > 0
