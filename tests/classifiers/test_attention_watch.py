"""The watch on attention: entropies by their definition, one warning, nothing disturbed."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
import torch

from wsss_plugins.backbones import TimmCNN, capture
from wsss_plugins.classifiers import (
    AttentionEntropyHook,
    TokenHead,
    WSSSClassifier,
    attention_entropy,
    measure_entropy,
)
from wsss_plugins.errors import ConfigError


def test_entropy_by_hand() -> None:
    """Four patches after one prefix token, whose share does not count."""
    rows = torch.tensor(
        [
            [0.9, 0.1, 0.0, 0.0, 0.0],
            [0.2, 0.2, 0.2, 0.2, 0.2],
            [0.0, 0.5, 0.5, 0.0, 0.0],
            [1.0, 0.0, 0.0, 0.0, 0.0],
        ]
    )
    got = attention_entropy(rows, 1)
    torch.testing.assert_close(got, torch.tensor([0.0, 1.0, 0.5, 0.0]))
    assert attention_entropy(torch.ones(1, 2), 1) == 0, 'one patch: nothing to choose'


@pytest.mark.parametrize('prefix', [1, 2])
def test_every_block_entry_by_entry(tiny_classifier, prefix) -> None:
    backbone = tiny_classifier(prefix=prefix).backbone
    backbone.vit.pos_embed.data.normal_(std=3)
    images = torch.randn(2, 3, 24, 40)
    got = measure_entropy(backbone, images)
    with torch.no_grad(), capture(backbone.eval(), images) as trace:
        pass
    for block, attn in enumerate(trace.attn):
        rows = {i: [] for i in range(prefix + 15)}
        for n, h, i in torch.cartesian_prod(
            *(torch.arange(k) for k in attn.shape[:3])
        ).tolist():
            shares = [v.item() for v in attn[n, h, i, prefix:]]
            shares = [v / sum(shares) for v in shares]
            rows[i].append(-sum(v * math.log(v) for v in shares) / math.log(15))
        mean = {i: sum(values) / len(values) for i, values in rows.items()}
        patches = [mean[i] for i in range(prefix, prefix + 15)]
        assert got.patches[block] == pytest.approx(sum(patches) / 15, rel=1e-5)
        assert got.classes[block] == pytest.approx(mean[0], rel=1e-5)
    names = [
        f'attention_entropy/{kind}block_{k}'
        for kind in ('', 'class_')
        for k in range(3)
    ]
    assert list(got.scalars()) == names


class Runner(SimpleNamespace):
    """What the hook asks a runner."""

    def __init__(self, model, step=0, steps=1000) -> None:
        super().__init__(model=model, iter=step, max_iters=steps)
        self.warnings, self.infos, self.scalars = [], [], []
        self.logger = SimpleNamespace(
            warning=self.warnings.append, info=self.infos.append
        )
        self.visualizer = SimpleNamespace(
            add_scalars=lambda values, step: self.scalars.append((step, values))
        )
        self.message_hub = SimpleNamespace(runtime_info={})


BATCH = dict(inputs=[torch.randint(0, 255, (3, 32, 40)) for _ in range(4)])


def even(model):
    """No query differs from another."""
    for block in model.backbone.vit.blocks:
        block.attn.qkv.weight.data[: 2 * 24] = 0
        block.attn.qkv.bias.data[: 2 * 24] = 0
    return model


def peaky(model):
    """Attention that is far from even."""
    model.backbone.vit.pos_embed.data.normal_(std=3)
    for block in model.backbone.vit.blocks:
        block.attn.qkv.weight.data[: 2 * 24] *= 40
    return model


def go(hook, runner, *steps) -> None:
    for step in steps:
        runner.iter = step
        hook.after_train_iter(runner, 0, BATCH)


def test_even_attention_warns_once(tiny_classifier) -> None:
    """From scratch it is even at first: only after a quarter of the training."""
    runner, hook = Runner(even(tiny_classifier())), AttentionEntropyHook()
    hook.before_train(runner)
    go(hook, runner, 0, 99, 199)
    assert len(runner.scalars) == 3 and not runner.warnings
    go(hook, runner, 299, 399)
    (text,) = runner.warnings
    assert text.startswith('attention is still almost even at iteration 300: ')
    assert 'in 3 of 3 blocks' in text and '\n' not in text
    step, values = runner.scalars[0]
    assert step == 1 and len(values) == 6
    assert all(value == pytest.approx(1, abs=1e-6) for value in values.values())
    assert runner.infos[0].endswith('by block: 1.000 1.000 1.000')


def test_attention_that_becomes_even_warns_at_once(tiny_classifier) -> None:
    runner, hook = Runner(peaky(tiny_classifier())), AttentionEntropyHook()
    hook.before_train(runner)
    go(hook, runner, 0)
    assert max(runner.scalars[0][1].values()) < 0.98
    even(runner.model)
    go(hook, runner, 99, 199)
    (text,) = runner.warnings
    assert text.startswith('attention has become almost even at iteration 100: ')


def test_peaky_attention_does_not_warn(tiny_classifier) -> None:
    runner, hook = Runner(peaky(tiny_classifier())), AttentionEntropyHook(interval=1)
    hook.before_train(runner)
    go(hook, runner, 0, 500, 999)
    assert not runner.warnings and len(runner.scalars) == 3


def test_half_of_the_blocks_is_enough(tiny_classifier) -> None:
    model = peaky(tiny_classifier())
    for count, warns in ((1, False), (2, True)):
        hook, runner = AttentionEntropyHook(patience=0), Runner(model)
        for block in model.backbone.vit.blocks[:count]:
            block.attn.qkv.weight.data[: 2 * 24] = 0
            block.attn.qkv.bias.data[: 2 * 24] = 0
        go(hook, runner, 0)
        assert bool(runner.warnings) == warns


def test_a_resumed_training_does_not_repeat_it(tiny_classifier) -> None:
    runner, hook = Runner(even(tiny_classifier())), AttentionEntropyHook()
    hook.before_train(runner)
    go(hook, runner, 0, 299)
    assert len(runner.warnings) == 1
    checkpoint = dict(message_hub=dict(runtime_info={}))
    hook.before_save_checkpoint(runner, checkpoint)
    kept = json.loads(json.dumps(checkpoint['message_hub']['runtime_info']))
    resumed, hook = Runner(runner.model, step=300), AttentionEntropyHook()
    resumed.message_hub.runtime_info = kept
    hook.before_train(resumed)
    go(hook, resumed, 399)
    assert not resumed.warnings and resumed.scalars
    # A new training in the same process is another one.
    fresh = Runner(runner.model)
    fresh.message_hub.runtime_info = kept
    hook.before_train(fresh)
    go(hook, fresh, 0, 299)
    assert len(fresh.warnings) == 1


def test_the_first_process_alone_measures(tiny_classifier, monkeypatch) -> None:
    module = 'wsss_plugins.classifiers.attention_watch'
    monkeypatch.setattr(f'{module}.is_main_process', lambda: False)
    runner, hook = Runner(even(tiny_classifier())), AttentionEntropyHook(patience=0)
    go(hook, runner, 0, 99)
    assert not (runner.warnings or runner.infos or runner.scalars)


def test_nothing_is_disturbed(tiny_classifier) -> None:
    """No random number is drawn, no statistic and no mode changes, no hook stays."""
    backbone = dict(
        type='TimmViT', stem='conv', img_size=32, patch_size=8, embed_dim=24, depth=2,
        num_heads=2, attn_drop_rate=0.5, drop_path_rate=0.5,
    )  # fmt: skip
    head = dict(type='TokenHead', num_classes=5)
    model = WSSSClassifier(backbone, head).train()
    model.backbone.vit.blocks[0].eval()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    assert any('running_mean' in k for k in state)
    modes = [m.training for m in model.modules()]
    random = torch.get_rng_state()
    inputs = [image.clone() for image in BATCH['inputs']]
    go(AttentionEntropyHook(images=3), Runner(model), 0)
    assert torch.equal(torch.get_rng_state(), random)
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert all(map(torch.equal, inputs, BATCH['inputs']))
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())


def test_two_views_of_an_image(tiny_classifier) -> None:
    """The first of them is looked at; ViewsPreprocessor gives ``(N, V, 3, H, W)``."""
    model, one = tiny_classifier(), Runner(None)
    two = Runner(model)
    one.model = model
    views = torch.randn(2, 2, 3, 32, 40)
    prepare = {
        2: lambda d, t: dict(inputs=views),
        1: lambda d, t: dict(inputs=views[:, 0]),
    }
    for runner, count in ((one, 1), (two, 2)):
        model.data_preprocessor.forward = prepare[count]
        go(AttentionEntropyHook(), runner, 0)
    assert one.scalars == two.scalars


def test_broken_weights_are_left_to_the_loss(tiny_classifier) -> None:
    """No claim about the kind of attention, and no warning that it is even."""
    model = tiny_classifier()
    with torch.no_grad():
        model.backbone.vit.pos_embed.fill_(math.nan)
    runner, hook = Runner(model), AttentionEntropyHook(patience=0)
    go(hook, runner, 0)
    ((_, values),) = runner.scalars
    assert values and all(map(math.isnan, values.values()))
    assert 'warned' not in hook.state


def test_models_without_attention(tiny_classifier, tiny_ex_vit) -> None:
    hook = AttentionEntropyHook()
    cnn = WSSSClassifier(TimmCNN('resnet18'), TokenHead(5, 512, ('patch',)))
    with pytest.raises(
        ConfigError, match='WSSSClassifier has no backbone with attention'
    ):
        hook.before_train(Runner(cnn))
    hook.before_train(Runner(tiny_classifier()))
    with pytest.raises(ConfigError, match='ExViT has no rows that sum to 1, and so'):
        go(hook, Runner(tiny_ex_vit()), 0)


@pytest.mark.parametrize(
    'argument',
    [dict(interval=0), dict(images=0), dict(threshold=1), dict(patience=1.5)],
)
def test_bad_arguments(argument) -> None:
    (name,) = argument
    with pytest.raises(ConfigError, match=f'^{name} must be ') as error:
        AttentionEntropyHook(**argument)
    assert error.value.token == name
