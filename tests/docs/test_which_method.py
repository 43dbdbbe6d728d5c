"""The numbers of 'Which method when' are measured ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / 'docs'
PAGE = (DOCS / 'which_method.md').read_text('utf-8')
SPREAD = re.compile(r'\d+\.\d ± \d+\.\d')


def generated(name: str) -> str:
    return (DOCS / 'generated' / f'{name}.md').read_text('utf-8')


def rows(text: str) -> dict[str, list[str]]:
    """Cells of the rows of all tables by the first two that are not empty."""
    found = {}
    for line in text.splitlines():
        if line.startswith('|'):
            cells = [cell.strip().strip('*') for cell in line.strip('|').split('|')]
            found[' '.join(cell.rstrip('†‡§¶ ') for cell in cells[:2]).strip()] = cells
    return found


HEADS = {
    'CAM': 'cam', 'TSCAM': 'ts_cam', 'GenericAttentionRelevance': 'generic',
    'ACRGradientMap': 'acr', 'LeGrad': 'legrad', 'AttentionRollout': 'rollout',
    'GradCAM': 'grad_cam',
}  # fmt: skip
MAPS = {
    'CAM, real photos': ('animals', 'maps_score'),
    'CAM, synthetic': ('synthetic_seeds', 'cam_score'),
    'generic attention relevance, synthetic': ('synthetic_seeds', 'generic_score'),
    'ACR gradient map, synthetic': ('synthetic_seeds', 'acr_score'),
    'attention rollout, synthetic': ('synthetic_seeds', 'rollout_score'),
}


def first_table(text: str) -> dict[str, list[str]]:
    """The rows of the first table, with seed heads that have no classifier beside them."""
    start = text.index('| classifier | seed head |')
    return rows(text[start : text.index('\n\n', start)])


def test_seed_heads_on_real_photos() -> None:
    cells = first_table(generated('matrix_animals'))
    (line,) = [
        line for line in PAGE.splitlines() if line.startswith('| real photos, a')
    ]
    said = dict(re.findall(r'`(\w+)` (\d+\.\d)', line.replace('`CAM` | mIoU', '`CAM`')))
    measured = {}
    for name, row in HEADS.items():
        key = f'hybrid {row}' if row == 'cam' else row
        measured[name] = cells[key][2]
    assert said == measured
    order = sorted(measured, key=lambda name: -float(measured[name]))
    assert list(said) == order, 'the best first'


@pytest.mark.parametrize('title', MAPS)
def test_thresholds_without_masks(title: str) -> None:
    name, stage = MAPS[title]
    table = rows(generated(name))
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f'| {title} |')]
    said = [float(cell.strip(' *')) for cell in line.strip('|').split('|')[1:]]
    criteria = ('otsu', 'max_entropy', 'foreground_share')
    cells = [table[f'{stage} {each}_regret'][2] for each in criteria]
    measured = [float(cell.split(' ±')[0]) for cell in cells]
    assert said == pytest.approx(measured, abs=0.051)
    bold = [i for i, cell in enumerate(line.strip('|').split('|')[1:]) if '**' in cell]
    assert bold == [measured.index(min(measured))]


def test_spreads_are_results() -> None:
    sources = (DOCS / 'results.md').read_text('utf-8')
    for name in ('matrix_synthetic', 'animals', 'refiners'):
        sources += generated(name)
    known = set(SPREAD.findall(sources))
    for mean, spread in re.findall(r'(\d+\.\d\d) ± (\d+\.\d\d)', sources):
        known.add(f'{float(mean):.1f} ± {float(spread):.1f}')
    said = SPREAD.findall(PAGE)
    assert len(said) > 8 and [each for each in said if each not in known] == []


def test_costs_are_those_of_the_benchmark() -> None:
    page = (DOCS / 'reproduction/rescience.md').read_text('utf-8')
    cost = rows(page[page.index('## Cost') :])
    (line,) = [line for line in PAGE.splitlines() if line.startswith('| time counts')]
    said = re.findall(r'\d+\.\d', line)
    names = 'attention rollout', 'attention GradCAM', 'GETAM', 'generic relevance'
    names = (*names, 'transformer attribution')
    found = {cells[0]: cells[2] for cells in cost.values() if len(cells) == 5}
    assert said == [found[name] for name in names]
