"""The switches of a training: each gives the numbers of the plain one, or is refused."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import Dataset
from training_models import COUPLED, KINDS, batch, build, gradients

from wsss_plugins.config import load_config
from wsss_plugins.engine.fingerprint import without_remarks
from wsss_plugins.engine.pieces import pieces_of
from wsss_plugins.engine.precision import Bfloat16OptimWrapper
from wsss_plugins.engine.speed import Speed
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import MODELS
from wsss_plugins.stages import build_runner

ELSEWHERE = {'AFAClassifier', 'ToCoClassifier'}
"""Models of tests/system/test_two_workers.py, whose losses couple images."""

ACCUMULATED = [name for name in KINDS if name not in COUPLED]


class Keeping(OptimWrapper):
    """A wrapper that keeps the gradients of its last step."""

    def zero_grad(self, **_: Any) -> None:
        """Leaves them."""


def stepped(model: BaseModel, data: dict[str, Any], speed: Speed | None = None):
    """Loss and gradients of one step; the weights stay."""
    speed = speed or Speed()
    speed.prepare(model)
    speed.in_pieces(model)
    torch.manual_seed(0)
    wrapper = Keeping(torch.optim.SGD(model.parameters(), lr=0.0))
    log = model.train_step(data, wrapper)
    return {k: v for k, v in log.items() if 'loss' in k}, gradients(model)


def assert_alike(one: Any, other: Any, rtol: float, atol: float = 1e-13) -> None:
    for found, expected in zip(one, other, strict=True):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(
                found[name], value, rtol=rtol, atol=atol, msg=name
            )


def test_every_model_that_is_trained_is_here() -> None:
    registered = {
        kind
        for kind in MODELS.module_dict.values()
        if isinstance(kind, type) and issubclass(kind, BaseModel)
    }
    names = {kind.__name__ for kind in registered}
    assert names - ELSEWHERE <= {type(build(name)).__name__ for name in KINDS}


@pytest.mark.parametrize('name', ACCUMULATED)
def test_pieces_give_the_gradients_of_the_batch(name) -> None:
    """Seven images in three pieces of two and three."""
    plain, divided = build(name), build(name)
    expected = stepped(plain, batch(plain, 7))
    found = stepped(divided, batch(divided, 7), Speed(accumulate=3))
    assert_alike(found, expected, rtol=1e-9)


@pytest.mark.parametrize('name', COUPLED)
def test_losses_that_couple_images_are_refused_in_pieces(name) -> None:
    with pytest.raises(ConfigError, match=f'in pieces, and {COUPLED[name]} divides by'):
        Speed(accumulate=2).check(build(name))
    model = build('balanced')
    model.decode_head.loss_decode.couples_images = True
    with pytest.raises(ConfigError, match='BalancedCrossEntropyLoss divides by'):
        Speed(accumulate=2).check(model)


def test_batch_norms_that_learn_are_refused_in_pieces() -> None:
    model = build('deeplab')
    model.backbone.norm_eval = False
    model.eval()
    with pytest.raises(
        ConfigError, match=r'\d+ batch norms \(backbone.bn1, ...\) would'
    ):
        Speed(accumulate=2).check(model)
    assert not any(part.training for part in model.modules()), 'it is left as it was'


def test_labels_that_a_segmentor_changes_are_noticed() -> None:
    model = build('deeplab')
    loss = model.decode_head.loss_by_feat

    def other(logits: Tensor, samples: list[Any]) -> dict[str, Tensor]:
        changed = copy.deepcopy(samples)
        for sample in changed:
            sample.gt_sem_seg.data = 4 - sample.gt_sem_seg.data.clamp(max=4)
        return loss(logits, changed)

    model.decode_head.loss_by_feat = other
    with pytest.raises(ConfigError, match='computes its loss on other ones'):
        stepped(model, batch(model, 4), Speed(accumulate=2))


@pytest.mark.parametrize('count', [1, 2, 5, 9])
def test_pieces_are_all_there_is(count) -> None:
    data = dict(inputs=torch.arange(5), data_samples=list('abcde'), none=None)
    pieces = list(pieces_of(data, count))
    assert len(pieces) == min(count, 5)
    assert torch.cat([p.data['inputs'] for p in pieces]).equal(data['inputs'])
    assert [x for p in pieces for x in p.data['data_samples']] == list('abcde')
    assert sum(p.share for p in pieces) == pytest.approx(1)
    assert [p.last for p in pieces] == [False] * (len(pieces) - 1) + [True]


@pytest.mark.parametrize('data', [dict(a=[1], b=[1, 2]), [1, 2], {}])
def test_batches_that_cannot_be_divided_are_refused(data) -> None:
    with pytest.raises(ConfigError, match='divides batches that are dicts'):
        list(pieces_of(data, 2))


CHECKPOINTED = [name for name in KINDS if name not in ('vgg16', 'context', *COUPLED)]


@pytest.mark.slow
@pytest.mark.parametrize('name', CHECKPOINTED)
def test_checkpointing_gives_the_gradients(name) -> None:
    plain, forgetful = build(name), build(name)
    expected = stepped(plain, batch(plain, 2))
    kept = kept_bytes(plain, batch(plain, 2))
    found = stepped(forgetful, batch(forgetful, 2), Speed(checkpoint=True))
    assert_alike(found, expected, rtol=1e-9)
    assert kept_bytes(forgetful, batch(forgetful, 2)) < kept


def kept_bytes(model: BaseModel, data: dict[str, Any]) -> int:
    """What autograd keeps of a forward pass beside the weights."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        losses = model(**data, mode='loss')
    assert losses
    own = {p.data_ptr() for p in model.parameters()}
    return sum(size for place, size in kept.items() if place not in own)


def test_parts_can_be_checkpointed_by_name() -> None:
    plain, forgetful = build('vgg16'), build('vgg16')
    expected = stepped(plain, batch(plain, 2))
    speed = Speed(checkpoint=['backbone.features'])
    assert_alike(stepped(forgetful, batch(plain, 2), speed), expected, rtol=1e-9)
    assert kept_bytes(forgetful, batch(plain, 2)) < kept_bytes(plain, batch(plain, 2))
    with pytest.raises(ConfigError, match=r"no part 'backbone.feature'; did you mean"):
        Speed(checkpoint=['backbone.feature']).check(plain)
    with pytest.raises(ConfigError, match='VGG16LargeFOV has none: name parts'):
        Speed(checkpoint=True).check(plain)


def test_batch_norms_count_a_batch_once_when_it_is_computed_twice() -> None:
    def learning(speed: Speed) -> dict[str, Tensor]:
        model = build('deeplab')
        model.backbone.norm_eval = False
        stepped(model.train(), batch(model, 2), speed)
        return dict(model.named_buffers())

    expected, found = learning(Speed()), learning(Speed(checkpoint=True))
    assert_alike([found], [expected], rtol=1e-12)
    assert found['backbone.layer1.0.bn1.num_batches_tracked'] == 1


@pytest.mark.slow
@pytest.mark.parametrize('name', KINDS)
def test_channels_last_gives_the_gradients(name) -> None:
    plain, other = build(name).float(), build(name).float()
    data = batch(plain, 2)
    data['inputs'] = data['inputs'].float()
    expected = stepped(plain, data)
    found = stepped(other, data, Speed(channels_last=True))
    scale = max(float(g.abs().max()) for g in expected[1].values())
    assert_alike(found, expected, rtol=1e-5, atol=1e-5 * scale)
    convolutions = [m for m in other.modules() if isinstance(m, nn.Conv2d)]
    last = torch.channels_last
    assert all(m.weight.is_contiguous(memory_format=last) for m in convolutions)


@pytest.mark.slow
@pytest.mark.parametrize('name', KINDS)
def test_bfloat16_is_near_float32(name) -> None:
    model = build(name).float()
    data = batch(model, 2)
    data['inputs'] = data['inputs'].float()
    expected, _ = stepped(model, data)
    seen = []
    model.register_forward_hook(
        lambda *_: seen.append(torch.is_autocast_enabled('cpu'))
    )
    wrapper = Bfloat16OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.0))
    torch.manual_seed(0)
    found = model.train_step(data, wrapper)
    assert seen == [True]
    for key, value in expected.items():
        torch.testing.assert_close(found[key].float(), value, rtol=0.1, atol=0.1)
    assert all(p.dtype == torch.float32 for p in model.parameters())


@pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU has float16')
def test_precisions_of_this_machine() -> None:
    plain = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1.0))
    kind = Speed(precision='bfloat16').optim_wrapper(plain)['type']
    assert kind is Bfloat16OptimWrapper
    with pytest.raises(
        ConfigError, match=r"^float16 .* GPU.*speed.precision='bfloat16'"
    ):
        Speed(precision='float16').optim_wrapper(plain)
    with pytest.raises(
        ConfigError, match='config says Bfloat16OptimWrapper: leave one'
    ):
        Speed(precision='bfloat16').optim_wrapper(dict(type='Bfloat16OptimWrapper'))
    with pytest.raises(ConfigError, match='accumulative_counts joins several batches'):
        Speed(accumulate=2).optim_wrapper(dict(plain, accumulative_counts=2))


def test_frozen_parts_have_no_backward_pass() -> None:
    names = ['backbone.vit.*_embed*', 'backbone.vit.cls_token', 'backbone.vit.blocks.0']
    model = build('vit')
    before = {key: value.clone() for key, value in model.state_dict().items()}
    Speed(frozen=names).prepare(model)
    seen: list[bool] = []
    block = model.backbone.vit.blocks[0]
    block.register_forward_hook(lambda _, __, output: seen.append(output.requires_grad))
    step = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    model.train().train_step(batch(model, 2), step)
    assert seen == [False] and not block.training and model.backbone.training
    moved = {n for n, p in model.named_parameters() if not p.equal(before[n])}
    still = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert moved | still == set(dict(model.named_parameters())) and not moved & still
    assert any('blocks.1' in n for n in moved) and any('blocks.0' in n for n in still)


def test_a_frozen_part_after_a_trained_one_is_warned_of() -> None:
    model = build('vit')
    Speed(frozen=['backbone.vit.blocks.1']).prepare(model)
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    for _ in range(2):
        model(**batch(model, 2), mode='loss')
    logger.removeHandler(handler)
    assert len(said) == 1 and 'backbone.vit.blocks.1 is frozen, and its' in said[0]


@pytest.mark.parametrize(
    ('given', 'said'),
    [
        (dict(accumulate=0), 'from 1 on, not 0'),
        (dict(accumulate=2.0), 'accumulate of Speed must be int, not 2.0'),
        (dict(precision='fp16'), "precision of Speed must be .*'float16'.*not 'fp16'"),
        (
            dict(channel_last=True),
            "no argument 'channel_last': did you mean 'channels_la",
        ),
        (dict(compile=True, checkpoint=True), 'exclude each other'),
        (dict(frozen='backbone'), 'frozen of Speed must be'),
    ],
)
def test_wrong_switches_are_one_line(given, said) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        Speed.of(dict(speed=given))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('key', ['compile', 'activation_checkpointing'])
def test_switches_of_mmengine_have_one_place(key) -> None:
    with pytest.raises(ConfigError, match=f'^{key} is a switch of mmengine.*set speed'):
        Speed.of({key: ['backbone']})


@pytest.mark.parametrize(
    ('frozen', 'said'),
    [('backbone.net', "no part 'backbone.net'"), ('*', 'nothing to')],
)
def test_wrong_names_of_frozen_parts_are_refused(frozen, said) -> None:
    with pytest.raises(ConfigError, match=said):
        Speed(frozen=[frozen]).check(build('vit'))


def test_what_has_no_backbone_is_not_compiled() -> None:
    with pytest.raises(ConfigError, match="the model's backbone, and Line has none"):
        Speed(compile=True).check(Line())


def test_switches_of_a_training_come_from_the_command_line() -> None:
    cfg = load_config('acr/synthetic', {'speed.accumulate': 4})
    assert cfg.speed == dict(accumulate=4)
    with pytest.raises(ConfigError, match="there is no 'speed'"):
        load_config('acr/synthetic_pipeline', {'speed.accumulate': 4})
    with pytest.raises(ConfigError, match='speed must be a dict of switches, not 4'):
        Speed.of(load_config('acr/synthetic', {'speed': 4}))


def test_exact_switches_are_no_part_of_a_fingerprint() -> None:
    def kept(**speed: Any) -> Any:
        return without_remarks(dict(config=dict(model=1, speed=speed)), ())['config']

    every = dict(accumulate=2, checkpoint=True, channels_last=True, compile=False)
    assert kept(**every) == dict(model=1)
    assert kept(precision='bfloat16', **every) == dict(
        model=1, speed=dict(precision='bfloat16')
    )
    assert kept(frozen=['a']) != kept()


class Line(BaseModel):
    """A linear model on a list of numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, x: list[Tensor], mode: str = 'tensor') -> dict[str, Tensor]:
        Line.seen.append(len(x))
        return dict(loss=self.layer(torch.stack(x)).square().mean())

    seen: ClassVar[list[int]] = []


class Noise(Dataset):
    """Ten points."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return dict(x=torch.randn(4) + index)


def trained(folder: Path, **speed: Any) -> dict[str, Tensor]:
    """The weights of two epochs of batches of four, four and two."""
    sampler = dict(type='DefaultSampler', shuffle=True)
    cfg = dict(
        model=dict(type=Line), speed=speed, train_cfg=dict(by_epoch=True, max_epochs=2),
        train_dataloader=dict(
            batch_size=4, num_workers=0, sampler=sampler, dataset=dict(type=Noise)
        ),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.05)),
        param_scheduler=[dict(type='LinearLR', end=4, by_epoch=False)],
    )  # fmt: skip
    folder.mkdir()
    Line.seen.clear()
    build_runner(Config(cfg), folder, 3, 'train').train()
    return load_file(folder / 'weights.safetensors')


@pytest.mark.slow
def test_a_training_in_pieces_is_the_plain_one(tmp_path) -> None:
    """Steps, their order, schedules by iteration, and the smaller last batch."""
    plain = trained(tmp_path / 'plain')
    assert Line.seen == [4, 4, 2] * 2
    found = trained(tmp_path / 'pieces', accumulate=3)
    assert Line.seen == [1, 1, 2, 1, 1, 2, 1, 1] * 2
    assert_alike([found], [plain], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_training_in_bfloat16_is_another(tmp_path) -> None:
    plain, found = (
        trained(tmp_path / 'a'),
        trained(tmp_path / 'b', precision='bfloat16'),
    )
    assert found['layer.weight'].dtype == torch.float32
    gap = (found['layer.weight'] - plain['layer.weight']).abs().max()
    assert 0 < gap < 0.05
