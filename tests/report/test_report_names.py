"""Names of strangers' classes, photos and titles are text in the pages, never markup."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from trees import half_mask, make_folder

from wsss_plugins.engine import StageRecord
from wsss_plugins.report import ReportStage
from wsss_plugins.stages import EvaluateLabelStage
from wsss_plugins.structures import Seed, save_label_map

CLASS = '<script>alert(1)</script>'
PHOTO = '"><img src=x onerror=alert(2)>'
METHOD = '<svg onload=alert(3)>'


class Found(HTMLParser):
    """Collects elements that could run code."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []

    def handle_starttag(self, name: str, attrs: list) -> None:
        if name in ('script', 'iframe', 'object'):
            self.faults.append(name)
        given = dict(attrs)
        self.faults += [f'{name} {key}' for key in given if key.startswith('on')]
        if not str(given.get('src') or 'data:image/').startswith('data:image/'):
            self.faults.append(f'{name} src={given["src"]}')


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    """Seeds and measured labels of two photos, with names that are markup."""
    rows = [(f'{PHOTO}.png', CLASS), ('b.png', 'cat')]
    root = make_folder(tmp_path / 'photos', rows)
    for i, name in enumerate([PHOTO, 'b']):
        for place in (root / 'masks', tmp_path / 'pseudo/labels'):
            save_label_map(place / f'{name}.png', half_mask(1 + i))
        seed = Seed(torch.rand(1, 6, 10), torch.tensor([i]))
        seed.save(tmp_path / f'maps/seeds/{name}.npz')
    measure = EvaluateLabelStage(
        'measured',
        'pseudo',
        dict(
            type='FolderWSSS',
            data_root=str(root),
            split='train',
            label_maps='masks',
            test_mode=True,
        ),
    )
    metrics = measure.run(tmp_path / 'measured', {'pseudo': tmp_path / 'pseudo'})
    for stage, kind, inputs, numbers in [
        ('maps', 'SeedStage', {}, {'images': 2, 'failed': 0}),
        ('pseudo', 'RefineStage', {'maps': 'x'}, {'images': 2, 'threshold': 0.4}),
        ('measured', 'EvaluateLabelStage', {'pseudo': 'x'}, metrics),
    ]:
        made = dict(head=METHOD, refiners=[METHOD], note=METHOD)
        StageRecord(stage, kind, 'f', inputs, 0, True, numbers, made, 1.0, METHOD).save(
            tmp_path / stage
        )
    return tmp_path


def test_names_are_text(work_dir: Path) -> None:
    data = dict(
        type='FolderWSSS',
        data_root=str(work_dir / 'photos'),
        split='train',
        label_maps='masks',
        test_mode=True,
    )
    stage = ReportStage(
        'report', METHOD, data, seeds=['maps'], labels='measured', notes=CLASS
    )
    stage.run(work_dir / 'report', {name: work_dir / name for name in stage.inputs})
    page = (work_dir / 'report/report.html').read_text('utf-8')
    found = Found()
    found.feed(page)
    assert found.faults == []
    assert page.count('&lt;script&gt;alert(1)&lt;/script&gt;') >= 2, 'notes, classes'
    assert '&quot;&gt;&lt;img src=x' in page
    assert '&lt;svg onload=alert(3)&gt;' in page


def test_the_parser_finds_what_is_planted() -> None:
    found = Found()
    found.feed(f'{CLASS}{METHOD}<p title="{PHOTO}">')
    assert found.faults == ['script', 'svg onload', 'img onerror', 'img src=x']
