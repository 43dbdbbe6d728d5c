"""Measuring the attention of a classifier against masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from trees import make_voc

from wsss_plugins.backbones import capture
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import ConfigError, DataError, UserError
from wsss_plugins.metrics import AffinityContrast, patch_labels
from wsss_plugins.registry import MODELS, STAGES, build_as
from wsss_plugins.stages import EvaluateAffinityStage
from wsss_plugins.stages.images import as_input
from wsss_plugins.structures import load_json

BACKBONE = dict(
    type='TimmViT', img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=2
)
SIZE = (33, 50)
"""Of the photos: not square, and no multiple of a patch."""


@pytest.fixture
def dataset(tmp_path: Path) -> dict:
    root = make_voc(tmp_path / 'data', {'a': ['aeroplane'], 'b': ['bicycle']})
    for name in 'ab':
        mask = np.zeros(SIZE, np.uint8)
        mask[:20, :20] = 1 + (name == 'b')
        mask[30:] = 255
        Image.fromarray(mask).save(root / f'SegmentationClass/{name}.png')
        photo = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
        photo[:20, :20] = 255
        Image.fromarray(photo).save(root / f'JPEGImages/{name}.jpg')
    masks = dict(label_maps='SegmentationClass', test_mode=True)
    return dict(type='VOC12', data_root=str(root), split='train', **masks)


@pytest.fixture
def measure(monkeypatch, tmp_path, dataset):
    """Runs the stage on a classifier with this backbone."""

    def run(
        backbone: dict = BACKBONE, **options: object
    ) -> tuple[dict, WSSSClassifier]:
        torch.manual_seed(0)
        head = dict(type='TokenHead', num_classes=20)
        if backbone['type'] == 'TimmCNN':
            head['sources'] = ('patch',)
        cfg = dict(type='WSSSClassifier', backbone=backbone, head=head)
        model = build_as(MODELS, cfg, WSSSClassifier).eval()
        for name, weight in model.named_parameters():
            if 'qkv.weight' in name:
                weight.data *= 20  # attention that is far from even
        monkeypatch.setattr(
            'wsss_plugins.stages.evaluate_affinity.load_trained', lambda *_: model
        )
        cfg = dict(type='EvaluateAffinityStage', name='affinity', model='m')
        cfg |= dict(dataset=dataset, **options)
        stage = build_as(STAGES, cfg, EvaluateAffinityStage)
        return stage.run(tmp_path / 'out', {'m': tmp_path / 'm'}), model

    return run


@pytest.mark.parametrize('blocks', [None, [-1], [0, 2]])
def test_equals_what_the_trace_shows(measure, dataset, tmp_path, blocks) -> None:
    (tmp_path / 'out').mkdir()
    metrics, model = measure(blocks=blocks)
    contrast = AffinityContrast()
    for name in 'ab':
        root = Path(dataset['data_root'])
        photo = np.array(Image.open(root / f'JPEGImages/{name}.jpg'))
        mask = np.array(Image.open(root / f'SegmentationClass/{name}.png'))
        with capture(model.backbone, as_input(model, [photo])) as trace:
            read = range(3) if blocks is None else [b % 3 for b in blocks]
            affinity = trace.patch_affinity(list(read))[0].detach().numpy()
        assert trace.grid == (4, 6) and len(affinity) == 24
        contrast.update(affinity, patch_labels(mask, trace.grid))
    expected = contrast.compute().to_dict()
    assert metrics.pop('images') == 2
    assert metrics == pytest.approx(expected, abs=2e-3)
    stored = load_json(tmp_path / 'out/scores.json')
    assert stored == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert abs(stored['left_by_take']) > 0.1


def test_mistakes(measure, tmp_path, dataset) -> None:
    (tmp_path / 'out').mkdir()
    with pytest.raises(ConfigError, match=r'the backbone has blocks 0 to 2 .* not 3'):
        measure(blocks=[3])
    with pytest.raises(ConfigError, match='blocks must name at least one'):
        measure(blocks=[])
    with pytest.raises(UserError, match='TimmCNN has no attention'):
        measure(dict(type='TimmCNN', name='resnet18'))
    dataset.pop('label_maps')
    with pytest.raises(DataError, match='give label_maps=FOLDER'):
        measure()


def test_says_what_it_did(dataset) -> None:
    stage = EvaluateAffinityStage('affinity', 'm', dataset, blocks=[-1])
    said = stage.provenance()
    assert (said['blocks'], said['scales'], said['flip']) == ([-1], [1.0], False)
    assert 'convention' not in said and stage.inputs == ('m',)
    measured = stage.measured()
    assert (measured.scales, measured.flip, measured.masks) == ((1.0,), False, True)
