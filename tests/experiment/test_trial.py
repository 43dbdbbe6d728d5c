"""What a pipeline refuses before the first of its trainings."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmseg.models.segmentors import EncoderDecoder
from trees import make_voc

from wsss_plugins.errors import CheckpointError, ConfigError, UserError
from wsss_plugins.experiment import Pipeline
from wsss_plugins.experiment.trial import refusals, refuse_mistakes, untrained
from wsss_plugins.stages import SeedSweepStage, TrainStage

VIT = dict(
    type='TimmViT', img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2
)
RESNET = dict(type='TimmCNN', name='resnet18', output_stride=8)


@pytest.fixture
def root(tmp_path) -> Path:
    return make_voc(tmp_path / 'voc', dict(a=['cat'], b=['dog', 'cat']))


def training(root: Path, backbone: dict[str, Any], **model: Any) -> dict[str, Any]:
    data = dict(type='VOC12', data_root=str(root), split='train')
    head = dict(type='TokenHead', num_classes=20)
    if backbone is RESNET:
        head['sources'] = ('patch',)
    return dict(
        model=dict(dict(type='WSSSClassifier', backbone=backbone, head=head), **model),
        train_dataloader=dict(
            batch_size=2,
            sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=data,
        ),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
    )


def pipeline(root: Path, trainings: dict[str, Any], heads: dict[str, Any]) -> Pipeline:
    """Trainings by name, and stages of maps: the model that each reads, and its head."""
    images = dict(type='VOC12', data_root=str(root), split='train')
    stages: list[dict[str, Any]] = [
        dict(type='TrainStage', name=name, config=config)
        for name, config in trainings.items()
    ]
    for model, head in heads.items():
        stages.append(
            dict(
                type='SeedStage',
                name=f'{model}_maps',
                model=model,
                head=dict(type=head),
                dataset=images,
            )
        )
    (root / 'mine.py').touch()
    return Pipeline(Config(dict(pipeline=stages), filename=str(root / 'mine.py')))


def test_nothing_is_fetched_and_nothing_is_left_behind(root) -> None:
    """No network in tests: weights of timm would be an error."""
    cfg = training(root, dict(type='TimmViT', name='vit_tiny_patch16_224'))
    cfg['model']['backbone']['pretrained'] = True
    cfg['model']['head']['num_classes'] = None  # the data set knows
    model = untrained(cfg)
    assert model.num_classes == 20 and not model.training
    assert cfg['model']['backbone']['pretrained'] is True, 'the config is left alone'
    steps = pipeline(root, dict(a=training(root, VIT)), dict(a='CAM')).steps
    state = torch.get_rng_state()
    stages = [step.stage for step in steps]
    assert refusals(stages) == refusals(stages) == {}
    assert torch.equal(torch.get_rng_state(), state), 'the run draws as without a trial'


def test_a_wrong_value_in_the_last_training(root, tmp_path) -> None:
    """Its type and arguments are spelt well, so that only building it tells."""
    wrong = training(root, VIT, type='ACRClassifier', view='hflipp', consistency={})
    made = pipeline(root, dict(first=training(root, VIT), second=wrong), {})
    with pytest.raises(
        ConfigError, match=r"unknown view 'hflipp': did you mean 'hflip'"
    ):
        made.run(tmp_path / 'work')
    assert not (tmp_path / 'work' / 'first').exists(), 'before any work'
    with pytest.raises(ConfigError, match='hflipp'):
        made.refuse_mistakes(made.steps, tmp_path / 'work')
    refuse_mistakes([made.steps[0].stage])  # what is not asked for is not tried


def test_a_training_of_nothing(root) -> None:
    with pytest.raises(ConfigError, match="stage 'none': its config has no 'model'"):
        refuse_mistakes([TrainStage('none', dict(train_cfg=dict(max_epochs=1)))])


def test_what_another_library_says_of_a_network(root) -> None:
    odd = TrainStage('odd', training(root, dict(VIT, num_heads=3)))
    with pytest.raises(
        ConfigError, match="stage 'odd', model: TimmViT cannot be built, "
    ):
        refuse_mistakes([odd])


def test_a_seed_head_that_refuses_its_network(root, tmp_path) -> None:
    models = dict(vit=training(root, VIT), cnn=training(root, RESNET))
    heads = dict(vit='AttentionRollout', cnn='AttentionRollout')
    made = pipeline(root, models, heads)
    with pytest.raises(ConfigError) as error:
        made.run(tmp_path / 'work')
    assert str(error.value).startswith(
        "stage 'cnn_maps': AttentionRollout reads attention, and TimmCNN has none"
    )
    assert not (tmp_path / 'work' / 'vit').exists()


def test_weights_that_are_not_there(root, tmp_path) -> None:
    """Before the first of two trainings, and only where they would be read."""
    path = tmp_path / 'start.safetensors'
    second = training(root, dict(VIT, pretrained=str(path)))
    made = pipeline(root, dict(first=training(root, VIT), second=second), {})
    with pytest.raises(CheckpointError) as error:
        made.run(tmp_path / 'work')
    assert str(error.value) == (
        f"stage 'second': the weights {path}, which its backbone begins with, are not "
        'there: put the file in that place, or name another in the config'
    )
    assert not (tmp_path / 'work' / 'first').exists()
    path.touch()
    made.refuse_mistakes(made.steps, tmp_path / 'work')
    url = training(root, dict(VIT, pretrained='https://there.example/start.pth'))
    refuse_mistakes([TrainStage('third', url)])
    given = TrainStage('fourth', second, backbone='third')
    path.unlink()
    refuse_mistakes([given])  # the backbone is that of the third stage


def test_a_segmentor_has_no_class_maps(root) -> None:
    backbone = dict(type='DeepLabResNet', depth=18, pretrained='not/there.pth')
    head = dict(type='DeepLabV2Head', in_channels=512, num_classes=21)
    cfg = training(root, VIT)
    cfg['model'] = dict(type='EncoderDecoder', backbone=backbone, decode_head=head)
    assert isinstance(untrained(cfg), EncoderDecoder)
    steps = pipeline(root, dict(a=cfg), dict(a='CAM')).steps
    assert refusals(step.stage for step in steps) == dict(
        a_maps='class maps are of a WSSSClassifier, and this is EncoderDecoder'
    )


def rehearsal(root: Path, **changes: Any) -> str:
    """What is said of the second of two trainings, whose config is changed."""
    cfg = training(root, VIT)
    for key, value in changes.items():
        cfg[key] = value
    stages = [TrainStage('first', training(root, VIT)), TrainStage('second', cfg)]
    with pytest.raises(ConfigError) as error:
        refuse_mistakes(stages)
    text = str(error.value)
    assert text.startswith("stage 'second'") and '\n' not in text
    return text


def test_a_training_that_is_shorter_than_its_schedule(root) -> None:
    """It was found out when that training began."""
    late = dict(type='CosineAnnealingLR', begin=2, T_max=5, by_epoch=True)
    assert 'param_scheduler does not fit train_cfg (max_epochs=1)' in rehearsal(
        root, param_scheduler=[dict(late, end=1)]
    )


OPTIM = dict(optimizer=dict(type='AdamW', lr=1e-3))


@pytest.mark.parametrize(
    'key, value, message',
    [
        ('optim_wrapper', dict(optimizer=dict(type='AdamW', lr=-1)), 'learning rate'),
        ('optim_wrapper', dict(OPTIM, clip_grad='a'), 'clip_grad'),
        ('optim_wrapper', dict(OPTIM, type='AmpOptimWraper'), "'AmpOptimWraper': did"),
        ('optim_wrapper', None, "has no 'optim_wrapper'"),
        ('train_cfg', dict(by_epoch=True, max_epochs=1.5), 'train_cfg cannot be built'),
        ('train_cfg', dict(by_epoch=False, max_iters=9), 'must count epochs'),
        (
            'custom_hooks',
            [dict(type='EMAHook', begin_iter=1, begin_epoch=1)],
            'custom_hooks',
        ),
        ('default_hooks', dict(logger=dict(type='LoggerHook', interval='a')), 'hooks'),
        ('val_cfg', dict(), "has no 'val_dataloader'"),
    ],
)
def test_wrong_options_of_a_training(root, key, value, message) -> None:
    assert re.search(message, rehearsal(root, **{key: value}))


def test_wrong_parts_of_the_data(root) -> None:
    """Data set, transforms, sampler and metric of both loaders are built."""
    loader = training(root, VIT)['train_dataloader']
    data = loader['dataset']
    wrong = [dict(type='RandomFlip', prob=7)]
    for changed in (
        dict(loader, dataset=dict(data, pipeline=wrong)),
        dict(
            loader,
            dataset=dict(
                type='RepeatDataset', times=2, dataset=dict(data, pipeline=wrong)
            ),
        ),
        dict(loader, sampler=dict(type='DefaultSampler', shufle=True)),
        dict(loader, dataset=dict(data, split='nowhere')),
        dict(loader, batch_size=0),
    ):
        assert re.search(
            "'second'.*(train_dataloader|train_cfg)",
            rehearsal_of_data(root, train_dataloader=changed),
        )
    val = dict(val_dataloader=loader, val_cfg=dict())
    metric = dict(type='MultiLabelAP', prefix=3, nothing=1)
    assert 'val_evaluator' in rehearsal(root, **val, val_evaluator=metric)


def rehearsal_of_data(root: Path, **changes: Any) -> str:
    with pytest.raises(UserError) as error:
        refuse_mistakes([TrainStage('second', training(root, VIT) | changes)])
    return str(error.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU has mixed precision')
@pytest.mark.parametrize('more', [dict(), dict(dtype='bfloat16', loss_scale=512.0)])
def test_mixed_precision_needs_a_gpu(root, more) -> None:
    """It was an assertion of mmengine, when the training began."""
    wrapper = dict(OPTIM, type='AmpOptimWrapper', **more)
    assert rehearsal(root, optim_wrapper=wrapper).endswith(
        'optim_wrapper: AmpOptimWrapper trains in mixed precision that needs a GPU, and '
        "there is none here: set speed.precision='bfloat16', which CPUs have too, or "
        "'float32', and optim_wrapper.type='OptimWrapper' without loss_scale, dtype and "
        'use_fsdp'
    )


def test_label_maps_that_are_still_to_be_made(root, tmp_path) -> None:
    """Label maps of an earlier stage are not there yet; nothing is written."""
    cfg = training(root, VIT)
    cfg['optim_wrapper'] = dict(OPTIM, clip_grad=dict(max_norm=1.0))
    cfg['param_scheduler'] = [dict(type='CosineAnnealingLR', T_max=1)]
    cfg['train_dataloader']['dataset']['label_maps'] = 'pseudo'
    cfg['val_dataloader'] = training(root, VIT)['train_dataloader']
    cfg['val_cfg'], cfg['val_evaluator'] = dict(), dict(type='MultiLabelAP')
    before = sorted(root.rglob('*')), Path.cwd().stat().st_mtime
    refuse_mistakes([TrainStage('a', cfg, label_maps='pseudo')])
    assert (sorted(root.rglob('*')), Path.cwd().stat().st_mtime) == before
    with pytest.raises(UserError, match=r"stage 'a', train_dataloader: .*pseudo"):
        refuse_mistakes([TrainStage('a', cfg)])


HEADS_OF_A_USER = """
from wsss_plugins.seeds import CAM


class Broken(CAM):
    def class_maps(self, model, trace, labels):
        maps = super().class_maps(model, trace, labels)
        return self.second(maps)

    def second(self, maps):
        return maps[:, 20]


class Flat(CAM):
    def class_maps(self, model, trace, labels):
        return super().class_maps(model, trace, labels).amax(1)


class NeedsManyPatches(CAM):
    def class_maps(self, model, trace, labels):
        maps = super().class_maps(model, trace, labels)
        return maps * (maps.flatten(2).topk(100).values.sum() > -1e9)


class FailsWithOne(CAM):
    def class_maps(self, model, trace, labels):
        if (labels == labels[0]).all():
            raise RuntimeError('two images have different labels')
        return super().class_maps(model, trace, labels)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / 'heads_of_a_user.py').write_text(HEADS_OF_A_USER)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module('heads_of_a_user')
    sys.modules.pop('heads_of_a_user')


def test_a_bug_of_a_head_is_shown_with_its_line(root, mine) -> None:
    """The deepest line of the head's own file, not of torch, and no traceback."""
    steps = pipeline(root, dict(a=training(root, VIT)), dict(a=mine.Broken)).steps
    found = refusals(step.stage for step in steps)
    assert found == dict(
        a_maps='Broken fails on two images of 112x120 pixels, IndexError: index 20 is out '
        f'of bounds for dimension 1 with size 20 ({mine.__file__}:11, in second)'
    )


def test_maps_of_a_wrong_shape_and_a_method_that_needs_a_larger_image(
    root, mine
) -> None:
    def said(head: type) -> dict[str, str]:
        steps = pipeline(root, dict(a=training(root, VIT)), dict(a=head)).steps
        return refusals(step.stage for step in steps)

    assert said(mine.Flat)['a_maps'].startswith(
        'Flat.class_maps returned a tensor of shape (2, 14, 15): allowed is'
    )
    assert said(mine.NeedsManyPatches) == said(mine.FailsWithOne) == {}


def test_heads_of_other_stages_are_tried_too(root, mine) -> None:
    images = dict(type='VOC12', data_root=str(root), split='train')
    sweep = SeedSweepStage(
        'sweep', 'a', dict(type=mine.Flat), 'floor', ['zero', 'minimum'], images
    )
    found = refusals([TrainStage('a', training(root, VIT)), sweep])
    assert list(found) == ['sweep'] and 'Flat.class_maps returned' in found['sweep']
