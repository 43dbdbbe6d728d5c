"""What a pipeline refuses before the first of its trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmseg.models.segmentors import EncoderDecoder
from trees import make_voc

from wsss_plugins.errors import CheckpointError, ConfigError
from wsss_plugins.experiment import Pipeline
from wsss_plugins.experiment.trial import refusals, refuse_mistakes, untrained
from wsss_plugins.stages import TrainStage

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
        train_dataloader=dict(batch_size=2, dataset=data),
        train_cfg=dict(max_epochs=1),
    )


def pipeline(root: Path, trainings: dict[str, Any], heads: dict[str, str]) -> Pipeline:
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
    with pytest.raises(ConfigError, match="stage 'odd': its network cannot be built, "):
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
