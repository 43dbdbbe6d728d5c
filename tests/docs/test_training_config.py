"""The training config of 'Add a pipeline', loaded as it stands there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from wsss_plugins.config import load_config, plain
from wsss_plugins.errors import ConfigError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / 'docs/how-to/add_a_pipeline.md').read_text('utf-8')


@pytest.fixture
def configs(tmp_path) -> Path:
    """A copy of the repository's configs with the file of the page."""
    folder = tmp_path / 'configs'
    shutil.copytree(ROOT / 'configs', folder)
    (text,) = re.findall(
        r'^```python\n# configs/mine/small_crops\.py\n(.*?)^```', PAGE, re.M | re.S
    )
    (folder / 'mine').mkdir()
    (folder / 'mine/small_crops.py').write_text(text)
    return folder


def test_it_is_the_difference_that_it_states(configs) -> None:
    mine = plain(load_config(configs / 'mine/small_crops.py').to_dict())
    base = plain(load_config(configs / 'acr/synthetic.py').to_dict())
    assert mine.keys() == base.keys()
    changed = {key for key in base if mine[key] != base[key]}
    assert changed == {'max_epochs', 'param_scheduler', 'train_cfg', 'train_dataloader'}
    sizes = [
        step.get('size') for step in mine['train_dataloader']['dataset']['pipeline']
    ]
    assert sizes == [None, None, 48, None]
    assert [rate.get('T_max') for rate in mine['param_scheduler']] == [None, 1 - 1 / 12]


def test_a_transform_that_is_inserted_is_noticed(configs) -> None:
    """With the file and line, rather than by a crop that stays as it was."""
    base = configs / '_base_/synthetic_data.py'
    text = base.read_text()
    assert text.count('[_load, _flip, _crop, _pack]') == 1
    base.write_text(text.replace('[_load, _flip,', '[_load, _load, _flip,'))
    with pytest.raises(ConfigError, match=r'small_crops\.py:\d+: config .* too many'):
        load_config(configs / 'mine/small_crops.py')


def test_update_keeps_what_it_does_not_name(configs) -> None:
    (configs / 'mine/kept.py').write_text(
        'from mmengine.config import read_base\n'
        'with read_base():\n'
        '    from ..acr.synthetic import *\n'
        'model.update(backbone=dict(depth=2))\n'
        'model.head = dict(num_classes=3)\n'
    )
    model = load_config(configs / 'mine/kept.py').model
    assert (model.backbone.depth, model.backbone.embed_dim) == (2, 128)
    assert dict(model.head) == dict(num_classes=3)
