"""The configs of ACR: photos as the weights saw them, roads, and the page of tables."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

import pytest
import timm

from wsss_plugins.config import load_config, plain
from wsss_plugins.experiment.names import named_stages

ACR = Path(__file__).parents[2] / 'configs/acr'


@pytest.mark.parametrize(
    'name', ['voc.py', 'voc_deit.py', 'voc_vit_base.py', 'coco.py']
)
def test_photos_are_normalised_as_the_weights_were_trained(name: str) -> None:
    """And a short side is padded with that mean."""
    cfg = load_config(ACR / name)
    trained = timm.get_pretrained_cfg(cfg.model.backbone.name)
    model = cfg.model.to_dict()
    assert model['mean'] == pytest.approx([255 * v for v in trained.mean])
    assert model['std'] == pytest.approx([255 * v for v in trained.std])
    side = trained.input_size[-1]
    for loader, low in (('train_dataloader', 0.9), ('val_dataloader', 1.0)):
        steps = cfg[loader].dataset.pipeline
        resize = next(s for s in steps if 'low' in s)
        crop = next(s for s in steps if 'size' in s)
        assert crop.size == side and resize.low == int(low * side)
        assert crop.pad == [round(v) for v in model['mean']]
    assert (resize.low, resize.high) == (side, side)
    assert cfg.train_dataloader.dataset.pipeline[1].high == int(side / 0.875)
    assert cfg.train_dataloader.batch_size == 4


def test_the_released_road() -> None:
    """The same stages; another classifier, and other backgrounds of confident labels."""
    paper = named_stages(load_config(ACR / 'voc_pipeline.py'))
    released = named_stages(load_config(ACR / 'voc_released_pipeline.py'))
    differing = {
        one['name']
        for one, other in zip(paper, released, strict=True)
        if plain(one) != plain(other)
    }
    assert differing == {'classifier', 'confident', 'report'}
    (confident,) = (stage for stage in released if stage['name'] == 'confident')
    assert (confident['alpha_low'], confident['alpha_high']) == (1, 12)


# The page -----------------------------------------------------------------------------


def rows_of_the_page() -> list[tuple[str, str, str, str]]:
    """What of the paper, configs, stages and twins of each row, 'the same' filled in."""
    page = (ACR.parents[1] / 'docs/reproduction/acr.md').read_text('utf-8')
    table = page.split('| of the paper |')[1].split('\n\n')[0].splitlines()[2:]
    rows: list[tuple[str, str, str, str]] = []
    for line in table:
        what, _, config, stage, twin = (cell.strip() for cell in line.split('|')[1:-1])
        if config == 'the same':
            config = rows[-1][1]
        if twin == 'the same':
            twin = rows[-1][3]
        rows.append((what, config, stage, twin))
    return rows


def stages_of(name: str) -> set[str]:
    return {stage['name'] for stage in load_config(ACR / name).pipeline}


def test_every_table_and_figure_is_on_the_page() -> None:
    told = ' '.join(row[0] for row in rows_of_the_page())
    assert all(f'table {number},' in told for number in range(1, 12))
    figures = re.findall(r'figures? (\d+)(?: and (\d+))?', told)
    drawings = {'2', '3', '9'}
    shown = {number for pair in figures for number in pair if number}
    assert shown | drawings == {str(number) for number in range(1, 15)}


@pytest.mark.parametrize('row', rows_of_the_page(), ids=lambda row: row[0])
def test_configs_and_stages_of_the_page_exist(row: tuple[str, str, str, str]) -> None:
    _, config, stage, twin = row
    configs = re.findall(r'`(\w+\.py)`', config)
    names = set().union(*map(stages_of, configs)) if configs else set()
    for wanted in re.findall(r'`([\w*]+)(?:/classes\.csv)?`', stage) if configs else ():
        assert fnmatch.filter(names, wanted), f'{config} has no stage {wanted}'
    for other in re.findall(r'`(\w+\.py)`', twin):
        assert stages_of(other)


def test_every_experiment_is_on_the_page() -> None:
    told = ' '.join(' '.join(row) for row in rows_of_the_page())
    page = (ACR.parents[1] / 'docs/reproduction/acr.md').read_text('utf-8')
    for path in ACR.glob('*_pipeline.py'):
        if path.name in ('voc_miniature_pipeline.py', 'synthetic_pipeline.py'):
            continue  # a test's, and that of the quickstart
        assert path.name in told + page, path.name
