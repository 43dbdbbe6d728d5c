"""Every small segmentor of configs/ learns for one step and predicts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample

from wsss_plugins.config import load_config
from wsss_plugins.registry import MODELS, SCOPE, build_as
from wsss_plugins.segmentors import MultiScaleSegmentor
from wsss_plugins.stages import PredictStage

CONFIGS = Path(__file__).parents[2] / 'configs'
SMALL = [
    'deeplabv2/synthetic', 'deeplabv2/synthetic_msc', 'deeplabv2/synthetic_vgg16',
    'deeplabv2/synthetic_resnet38', 'segmentor/synthetic_segmenter',
    'segmentor/synthetic_segformer',
]  # fmt: skip


def batch(cfg) -> dict:
    """Two random images that are not square, with label maps."""
    samples = []
    for _ in range(2):
        label = torch.randint(cfg.num_classes, (1, 48, 64))
        label[:, :3] = 255
        sample = SegDataSample(gt_sem_seg=PixelData(data=label))
        sample.set_metainfo(dict(img_shape=(48, 64), ori_shape=(48, 64)))
        samples.append(sample)
    images = [torch.randint(256, (3, 48, 64), dtype=torch.uint8) for _ in range(2)]
    return dict(inputs=images, data_samples=samples)


@pytest.mark.parametrize('name', SMALL)
def test_learns_and_predicts(name: str) -> None:
    init_default_scope(SCOPE)
    cfg = load_config(CONFIGS / f'{name}.py')
    model = build_as(MODELS, cfg.model, EncoderDecoder)
    model.init_weights()
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    data = batch(cfg)
    losses = []
    model.train()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    for _ in range(8):
        torch.manual_seed(0)  # the same dropout at every step
        losses.append(model.train_step(data, optimizer)['loss'].item())
    assert losses[-1] < losses[0]
    still = [n for n, p in model.named_parameters() if torch.equal(p, before[n])]
    assert not still, 'every layer learns'
    model.eval()
    stage = PredictStage('p', 'm', dict(data_root='', split=''), scales=(0.75, 1.5))
    image = torch.randint(256, (3, 49, 66), dtype=torch.uint8)
    shares = stage.probabilities(model, image)
    assert shares.shape == (cfg.num_classes, 49, 66)
    torch.testing.assert_close(shares.sum(0), torch.ones(49, 66))


def test_multi_scale_is_an_option_of_the_config() -> None:
    cfg = load_config(CONFIGS / 'deeplabv2/voc_r101_msc.py')
    with torch.device('meta'):
        cfg.model.backbone.pretrained = None
        model = build_as(MODELS, cfg.model, EncoderDecoder)
    assert isinstance(model, MultiScaleSegmentor) and model.scales == (0.5, 0.75)
    assert cfg.prediction.scales == (1.0,) and not cfg.prediction.flip


@pytest.mark.parametrize('net', ['r101', 'resnet38', 'vgg16'])
def test_coco_twins_differ_in_data_alone(net: str) -> None:
    voc, coco = (
        load_config(CONFIGS / f'deeplabv2/{data}_{net}.py') for data in ('voc', 'coco')
    )
    assert voc.model.decode_head.num_classes == 21
    assert coco.model.decode_head.num_classes == 81
    coco.model.decode_head.num_classes = 21
    assert voc.model == coco.model and voc.optim_wrapper == coco.optim_wrapper
    assert coco.param_scheduler[0].end == coco.train_cfg.max_epochs == 12
    assert {k: coco.prediction[k] for k in ('scales', 'flip')} == {
        k: voc.prediction[k] for k in ('scales', 'flip')
    }
    assert coco.prediction.refiners == voc.prediction.refiners


def test_weights_of_coco_are_said_to_be_stronger_supervision() -> None:
    cfg = load_config(CONFIGS / 'deeplabv2/voc_r101_coco.py')
    text = Path(cfg.filename).read_text()
    assert 'stronger supervision' in text
    assert cfg.model.backbone.style == 'caffe'
    assert cfg.model.data_preprocessor.rgb_to_bgr
    with torch.device('meta'):
        cfg.model.backbone.pretrained = None
        model = build_as(MODELS, cfg.model, EncoderDecoder)
    assert model.backbone.layer3[0].conv2.dilation == (2, 2)
    assert model.backbone.layer2[0].conv1.stride == (2, 2)
