"""What is known of the weights that networks begin with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from wsss_plugins.backbones.named_weights import supervision_of_timm
from wsss_plugins.config import load_config
from wsss_plugins.engine import StageRecord
from wsss_plugins.errors import ConfigError
from wsss_plugins.experiment.names import named_stages
from wsss_plugins.provenance.files import (
    card_of_weights,
    save_metrics,
    weights_metadata,
)
from wsss_plugins.provenance.networks import initial_weights
from wsss_plugins.structures.card import (
    KnownBy,
    Learnt,
    Network,
    SupervisionCard,
    Taught,
    in_words,
    supervision_in,
)
from wsss_plugins.structures.card_text import card_to_json

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / 'configs').rglob('[!_]*.py'))
UNKNOWN = {Taught.UNKNOWN, Taught.OTHER}
LEARNT = SupervisionCard(
    networks=(
        Network('a', 'A', 'x', supervision_in('ImageNet-1k labels'), (KnownBy.TIMM(),), Learnt.TAGS()),
        Network('b', 'B', 'y', supervision_in('COCO pixels'), (KnownBy.DECLARED(),), Learnt.LABEL_MAPS('c')),
    ),
    seeds=(3,),
)  # fmt: skip


@pytest.mark.parametrize(
    ('model', 'tag', 'learnt'),
    [
        ('vit_base_patch16_224', 'augreg2_in21k_ft_in1k', 'ImageNet-1k labels + ImageNet-21k labels'),
        ('vit_base_r50_s16_384', 'orig_in21k_ft_in1k', 'ImageNet-1k labels + ImageNet-21k labels'),
        ('deit_small_patch16_224', 'fb_in1k', 'ImageNet-1k labels'),
        ('vit_base_patch16_224', 'sam_in1k', 'ImageNet-1k labels'),
        ('vit_small_patch16_224', 'dino', 'self-supervised'),
        ('vit_base_patch16_224', 'mae', 'self-supervised'),
        ('vit_small_patch14_dinov2', 'lvd142m', 'self-supervised'),
        ('vit_huge_patch14_gap_224', 'in1k_ijepa', 'self-supervised'),
        ('beit_base_patch16_224', 'in22k_ft_in22k_in1k', 'ImageNet-1k labels + ImageNet-21k labels + self-supervised'),
        ('vit_base_patch16_clip_224', 'laion2b_ft_in12k_in1k', 'ImageNet-12k labels + ImageNet-1k labels + web texts'),
        ('vit_base_patch16_clip_224', 'openai', 'web texts'),
        ('samvit_base_patch16', 'sa1b', 'SA-1B pixels'),
        ('resnet50', 'fb_swsl_ig1b_ft_in1k', None),
        ('vit_x', 'some_house_recipe', None),
    ],
)  # fmt: skip
def test_names_of_timm(model: str, tag: str, learnt: str | None) -> None:
    assert in_words(supervision_of_timm(model, tag)) == (learnt or '')


def backbone(**more: object) -> dict:
    return dict(
        model=dict(type='WSSSClassifier', backbone=dict(type='TimmViT', **more))
    )


def only(cfg: dict) -> tuple[str, str, str, str]:
    (found,) = initial_weights(cfg)
    return found.part, found.source, in_words(found.supervision), str(found.known_by)


def test_what_a_config_names() -> None:
    assert initial_weights(backbone()) == []
    assert initial_weights(backbone(pretrained=False, name='x')) == []
    assert only(backbone(pretrained=True, name='deit_tiny_patch16_224')) == (
        'backbone', 'deit_tiny_patch16_224.fb_in1k (timm)', 'ImageNet-1k labels', 'name of timm',
    )  # fmt: skip
    asked = backbone(pretrained=True, name='vit_small_patch16_224.dino')
    assert only(asked)[1:3] == ('vit_small_patch16_224.dino (timm)', 'self-supervised')
    lost = ('unknown (w.pth, not declared)', 'not declared')
    assert only(backbone(pretrained='a/w.pth')) == ('backbone', 'w.pth', *lost)
    start = dict(type='Pretrained', checkpoint='a/w.pth')
    assert only(backbone(init_cfg=start)) == ('backbone', 'w.pth', *lost)
    assert only(backbone() | dict(pretrained=dict(backbone='w.pth')))[:2] == (
        'backbone', 'w.pth',
    )  # fmt: skip
    both = backbone(pretrained='v.pth') | dict(pretrained=dict(backbone='w.pth'))
    assert only(both)[1] == 'w.pth', 'it is loaded after'
    assert only(both | dict(load_from='all.pth'))[:2] == ('model', 'all.pth')
    mmseg = dict(type='EncoderDecoder', pretrained='torchvision://resnet50')
    assert only(dict(model=mmseg))[2] == 'ImageNet-1k labels'


def test_weights_that_are_the_default_count_too() -> None:
    """TimmClassifier fetches them unless it is told not to."""
    model = dict(type='TimmClassifier', name='deit_tiny_patch16_224')
    assert only(dict(model=model))[2] == 'ImageNet-1k labels'
    assert initial_weights(dict(model=dict(model, pretrained=False))) == []


@pytest.mark.parametrize(
    ('said', 'kept'),
    [
        ('imagenet labels', 'ImageNet-1k labels'),
        ('ImageNet-21k labels+coco pixels', 'COCO pixels + ImageNet-21k labels'),
        ('none', 'none'),
        ('self-supervised', 'self-supervised'),
        ('Places labels', 'Places labels'),
        (dict(backbone='COCO pixels', head='none'), 'COCO pixels'),
    ],
)
def test_declarations(said: object, kept: str) -> None:
    found = only(backbone(pretrained='w.pth') | dict(pretrained_supervision=said))
    assert found[2:] == (kept, 'declared in the config')


@pytest.mark.parametrize(
    'said', ['', 'imagenet', 'labels', 'COCO pixels + x', 3, {'': 'x'}]
)
def test_declarations_of_no_kind_are_refused(said: object) -> None:
    cfg = backbone(pretrained='w.pth') | dict(pretrained_supervision=said)
    with pytest.raises(ConfigError, match='pretrained_supervision must be') as error:
        initial_weights(cfg)
    assert error.value.token == 'pretrained_supervision'


def test_what_is_known_goes_before_what_is_declared() -> None:
    cfg = backbone(pretrained=True, name='deit_tiny_patch16_224')
    cfg |= dict(pretrained_supervision='COCO pixels')
    assert only(cfg)[2:] == ('ImageNet-1k labels', 'name of timm')
    assert (
        initial_weights(backbone() | dict(pretrained_supervision='COCO pixels')) == []
    )


def test_a_card_travels_with_weights(tmp_path) -> None:
    weights = tmp_path / 'copied.safetensors'
    save_file({'x': torch.zeros(2)}, weights)
    assert card_of_weights(weights) is None
    save_file({'x': torch.zeros(2)}, weights, weights_metadata(LEARNT))
    card = card_of_weights(weights)
    assert card.networks == LEARNT.networks and card.seeds == ()
    found = only(
        backbone(pretrained=str(weights)) | dict(pretrained_supervision='none')
    )
    assert found[1:] == (
        'copied.safetensors', 'COCO pixels + ImageNet-1k labels', 'card of copied.safetensors',
    )  # fmt: skip
    save_file({'x': torch.zeros(2)}, weights, {'card': '{"split": 3}'})
    assert card_of_weights(weights) is None
    weights.write_bytes(b'no safetensors')
    assert card_of_weights(weights) is None
    assert card_of_weights(tmp_path / 'nowhere.safetensors') is None


def test_a_card_lies_beside_weights_of_ours(tmp_path) -> None:
    record = StageRecord(
        'net', 'TrainStage', 'm', {}, 3, True, card=card_to_json(LEARNT)
    )
    record.save(tmp_path / 'stage')
    for name in ('weights.safetensors', 'resume.pth'):
        assert card_of_weights(tmp_path / 'stage' / name) == LEARNT
    assert card_of_weights(tmp_path / 'stage/other.pth') is None, 'it lies there only'
    save_metrics(tmp_path / 'alone/metrics.json', dict(mAP=3.0), LEARNT)
    assert card_of_weights(tmp_path / 'alone/resume.pth') == LEARNT
    save_metrics(tmp_path / 'none/metrics.json', dict(mAP=3.0), None)
    assert card_of_weights(tmp_path / 'none/resume.pth') is None
    (tmp_path / 'none/metrics.json').write_text(json.dumps([1]))
    assert card_of_weights(tmp_path / 'none/resume.pth') is None


@pytest.mark.parametrize(
    'path', CONFIGS, ids=[p.relative_to(ROOT / 'configs').as_posix() for p in CONFIGS]
)
def test_configs_of_the_repository_say_where_their_weights_come_from(
    path: Path,
) -> None:
    """A file of weights is declared; names of timm speak for themselves."""
    cfg = load_config(path)
    nodes = [cfg.to_dict()] if 'model' in cfg else []
    for stage in named_stages(cfg) if 'pipeline' in cfg else ():
        if isinstance(stage.get('model'), dict):
            nodes.append(dict(model=stage['model']))
        if 'config' in stage:
            nodes.append(stage['config'])
    for node in nodes:
        for found in initial_weights(node):
            assert not {k.kind for k in found.supervision} & UNKNOWN, found
