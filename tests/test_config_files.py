"""Configs by path and by short name, from any folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsss_plugins.config import load_config, locate
from wsss_plugins.config_files import CONFIGS, config_names, find_config
from wsss_plugins.errors import ConfigError

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_configs_of_the_package_are_those_of_the_repository() -> None:
    files = (
        path.relative_to(ROOT / 'configs') for path in ROOT.glob('configs/**/*.py')
    )
    named = [p.with_suffix('').as_posix() for p in files if '_base_' not in p.parts]
    assert config_names() == sorted(named) and len(named) > 80


@pytest.mark.parametrize(
    'name', ['exvit/voc', 'exvit/voc.py', 'configs/exvit/voc', 'configs/exvit/voc.py']
)
def test_short_names(name: str) -> None:
    assert find_config(name) == CONFIGS / 'exvit/voc.py'
    assert load_config(name).model.backbone.type.__name__ == 'ExViT'


def test_a_file_comes_before_a_config_of_the_package(elsewhere: Path) -> None:
    mine = elsewhere / 'exvit/voc.py'
    mine.parent.mkdir()
    mine.write_text('x = 1\n')
    assert (
        find_config('exvit/voc') == find_config('exvit/voc.py') == Path('exvit/voc.py')
    )
    assert find_config('voc', elsewhere / 'exvit') == mine
    assert find_config('acr/voc', elsewhere / 'exvit') == CONFIGS / 'acr/voc.py'


@pytest.mark.parametrize(
    ('name', 'nearest'),
    [
        ('exvit/vok', 'exvit/voc'),
        ('acr/sinthetic_pipelin', 'acr/synthetic_pipeline'),
        ('configs/acrr/voc_pipeline.py', 'acr/voc_pipeline'),
    ],
)
def test_an_unknown_name_is_told_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ConfigError) as raised:
        find_config(name)
    said = str(raised.value)
    assert said.startswith(f"config {name} does not exist: did you mean '{nearest}'?")


def test_a_config_of_ones_own_inherits_one_of_the_package(elsewhere: Path) -> None:
    path = elsewhere / 'mine.py'
    path.write_text(
        'from mmengine.config import read_base\n\n'
        'with read_base():\n'
        '    from wsss_plugins.configs.acr.synthetic_pipeline import *\n\n'
        "trainings.update(classifier='acr/synthetic')\n"
    )
    cfg = load_config(path)
    assert cfg.trainings.classifier == 'acr/synthetic'
    assert 'cam_score' in [stage['name'] for stage in cfg.pipeline]
    place = locate(path, 'threshold_factor')
    assert place and place.startswith(f'{CONFIGS / "acr/synthetic_pipeline.py"}:')
