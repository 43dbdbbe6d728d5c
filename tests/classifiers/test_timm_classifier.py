"""TimmClassifier answers as timm's own model does, from a name, a file or an instance."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import timm
import torch
from mmengine.logging import MMLogger
from safetensors.torch import save_file

from wsss_plugins.backbones import Tokens
from wsss_plugins.classifiers import TimmClassifier, WSSSClassifier
from wsss_plugins.errors import CheckpointError, ConfigError
from wsss_plugins.lrp import composite
from wsss_plugins.registry import MODELS, build_as

NAMES = (
    'vit_tiny_patch16_224',
    'deit_tiny_distilled_patch16_224',
    'vit_tiny_r_s16_p8_224',
)
SMALL = dict(depth=2, embed_dim=24, num_heads=2, img_size=(64, 96))


def timms(name: str = NAMES[0], **arch) -> torch.nn.Module:
    """Timm's own model, its biases not zero."""
    model = timm.create_model(name, **{**SMALL, **arch}).eval()
    for key, weight in model.named_parameters():
        if key.endswith('bias'):
            torch.nn.init.normal_(weight, std=0.1)
    return model


def ours(name: str, **kwargs) -> TimmClassifier:
    cfg = dict(type='TimmClassifier', name=name, **SMALL, **kwargs)
    return build_as(MODELS, cfg, WSSSClassifier).eval()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 64, 96)


# Logits -------------------------------------------------------------------------------


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_logits_are_timms(name, suffix, images, tmp_path) -> None:
    model = timms(name)
    path = str(tmp_path / f'weights{suffix}')
    state = model.state_dict()
    torch.save(dict(model=state), path) if suffix == '.pth' else save_file(state, path)
    classifier = ours(name, pretrained=path)
    assert classifier.num_classes == 1000
    expected = model(images)
    assert expected.std() > 0.05, 'of a model that says nothing, all would be equal'
    torch.testing.assert_close(classifier(images)['class'], expected, rtol=0, atol=1e-6)
    tokens = classifier.backbone(images)
    torch.testing.assert_close(
        classifier.class_logits(tokens), expected, rtol=0, atol=1e-6
    )
    torch.testing.assert_close(classifier.head.scores(tokens), expected.softmax(1))


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('size', [(32, 160), (128, 64)])
def test_other_sizes_than_the_trained_one(name, size) -> None:
    model = timms(name, dynamic_img_size=True).double()
    images = torch.randn(1, 3, *size, dtype=torch.float64)
    expected = model(images)
    classifier = TimmClassifier(model).double().eval()
    torch.testing.assert_close(classifier(images)['class'], expected)


def test_the_distillation_token_has_its_own_head() -> None:
    model = timms(NAMES[1], num_classes=5)
    first, second = model.head, model.head_dist
    tokens = Tokens(torch.randn(2, 2, 24), torch.randn(2, 24, 3, 4))
    one, other = tokens.prefix.unbind(1)
    expected = (first(one) + second(other)) / 2
    patch = tokens.patch[:, :, 2, 1]
    expected_patch = (first(patch) + second(patch)) / 2
    head = TimmClassifier(model).head
    torch.testing.assert_close(head.class_logits(tokens), expected)
    torch.testing.assert_close(head.patch_logits(tokens)[:, :, 2, 1], expected_patch)


def test_relevance_is_shared_by_what_each_token_says() -> None:
    model = timms(NAMES[1], num_classes=5).double()
    for layer in model.get_classifier():
        torch.nn.init.zeros_(layer.bias)
    head = TimmClassifier(model).double().head
    prefix = torch.randn(1, 2, 24, dtype=torch.float64, requires_grad=True)
    with composite('epsilon')(head):
        logits = head.class_logits(Tokens(prefix, prefix))
        (relevance,) = torch.autograd.grad(logits[0, 3], prefix)
    said = prefix * torch.stack([head.fc.weight[3], head.distillation_fc.weight[3]])
    torch.testing.assert_close(relevance, said / said.sum(), rtol=1e-3, atol=1e-6)


def test_probabilities(images) -> None:
    model = timms(num_classes=5)
    logits = model(images)
    classifier = TimmClassifier(model, single_label=False).eval()
    scores = classifier.head.scores(classifier.backbone(images))
    torch.testing.assert_close(scores, logits.sigmoid())


@pytest.mark.parametrize(
    'name, mean',
    [('vit_tiny_patch16_224', 127.5), ('deit_tiny_patch16_224', 123.675)],
)
def test_colours_are_those_of_timms_weights(name, mean) -> None:
    classifier = ours(name, pretrained=False)
    assert classifier.data_preprocessor.mean[0].item() == pytest.approx(mean)
    other = ours(name, pretrained=False, mean=(1, 2, 3), std=(4, 5, 6))
    pixels = torch.full((1, 3, 32, 32), 10.0)
    assert other.normalise(pixels)[0, :, 0, 0].tolist() == pytest.approx([9 / 4, 8 / 5, 7 / 6])  # fmt: skip


# Files --------------------------------------------------------------------------------


def jax_weights(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """The layout of the authors of ViT, with their names and axes."""
    state = {k: v.detach().numpy() for k, v in model.state_dict().items()}
    heads, width = SMALL['num_heads'], SMALL['embed_dim']
    out = {
        'cls': state['cls_token'],
        'Transformer/posembed_input/pos_embedding': state['pos_embed'],
        'embedding/kernel': state['patch_embed.proj.weight'].transpose(2, 3, 1, 0),
        'embedding/bias': state['patch_embed.proj.bias'],
        'Transformer/encoder_norm/scale': state['norm.weight'],
        'Transformer/encoder_norm/bias': state['norm.bias'],
        'head/kernel': state['head.weight'].T,
        'head/bias': state['head.bias'],
    }
    for i in range(SMALL['depth']):
        there, here = f'Transformer/encoderblock_{i}/', f'blocks.{i}.'
        for norm, name in ((0, 'norm1'), (2, 'norm2')):
            out[f'{there}LayerNorm_{norm}/scale'] = state[f'{here}{name}.weight']
            out[f'{there}LayerNorm_{norm}/bias'] = state[f'{here}{name}.bias']
        attn, per_head = f'{there}MultiHeadDotProductAttention_1/', width // heads
        weights = np.split(state[f'{here}attn.qkv.weight'], 3)
        biases = np.split(state[f'{here}attn.qkv.bias'], 3)
        for name, w, b in zip(('query', 'key', 'value'), weights, biases, strict=True):
            out[f'{attn}{name}/kernel'] = w.T.reshape(width, heads, per_head)
            out[f'{attn}{name}/bias'] = b.reshape(heads, per_head)
        out[f'{attn}out/kernel'] = state[f'{here}attn.proj.weight'].T.reshape(
            heads, per_head, width
        )
        out[f'{attn}out/bias'] = state[f'{here}attn.proj.bias']
        for r in range(2):
            dense = f'{there}MlpBlock_3/Dense_{r}/'
            out[f'{dense}kernel'] = state[f'{here}mlp.fc{r + 1}.weight'].T
            out[f'{dense}bias'] = state[f'{here}mlp.fc{r + 1}.bias']
    return out


def test_npz_of_the_authors_of_vit(images, tmp_path) -> None:
    model = timms(num_classes=7)
    path = tmp_path / 'B_16.npz'
    np.savez(path, **jax_weights(model))
    classifier = ours(NAMES[0], pretrained=str(path))
    assert classifier.num_classes == 7, 'as many as the file has'
    torch.testing.assert_close(classifier(images)['class'], model(images))


def test_a_new_head_on_a_file(images, tmp_path) -> None:
    model = timms(num_classes=7)
    torch.save(model.state_dict(), tmp_path / 'x.pth')
    classifier = ours(NAMES[0], pretrained=str(tmp_path / 'x.pth'), num_classes=3)
    assert classifier(images)['class'].shape == (2, 3)
    torch.testing.assert_close(
        classifier.backbone(images).prefix, model.forward_features(images)[:, :1]
    )


def test_unmatched_keys_are_reported(tmp_path) -> None:
    state = timms().state_dict() | {'pre_logits.fc.bias': torch.zeros(3)}
    torch.save(state | {'extra': torch.zeros(3)}, tmp_path / 'x.pth')
    heard = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    try:
        ours(NAMES[0], pretrained=str(tmp_path / 'x.pth'))
    finally:
        logger.removeHandler(handler)
    assert any('1 unexpected (extra)' in line for line in heard), heard


def test_trained_weights_round_trip(images) -> None:
    """What a training leaves can be loaded into the same config without timm's weights."""
    classifier = ours(NAMES[1], pretrained=False, num_classes=4)
    torch.manual_seed(7)
    again = ours(NAMES[1], pretrained=None, num_classes=4)
    before = again(images)['class']
    again.load_state_dict(classifier.state_dict())
    torch.testing.assert_close(again(images)['class'], classifier(images)['class'])
    assert not torch.allclose(before, again(images)['class'])
    again.init_weights()
    torch.testing.assert_close(again(images)['class'], classifier(images)['class'])


# Mistakes -----------------------------------------------------------------------------


def test_file_without_a_head(tmp_path) -> None:
    state = {k: v for k, v in timms().state_dict().items() if 'head' not in k}
    path = str(tmp_path / 'x.pth')
    torch.save(state, path)
    with pytest.raises(CheckpointError) as error:
        ours(NAMES[0], pretrained=path)
    assert str(error.value) == (
        f'checkpoint {path} has no classification head (head.weight, head.bias): give '
        'one that has, or num_classes=C to begin with a new one'
    )
    assert ours(NAMES[0], pretrained=path, num_classes=4).num_classes == 4


def test_file_of_another_model_whose_head_fits(tmp_path) -> None:
    path = str(tmp_path / 'x.pth')
    torch.save(timms(depth=1).state_dict(), path)
    with pytest.raises(CheckpointError) as error:
        ours(NAMES[0], pretrained=path)
    message = str(error.value)
    assert message.startswith(f'checkpoint {path} is of another model than {NAMES[0]}:')
    assert '12 missing (blocks.1.' in message and '\n' not in message


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(name='resnet18'), "timm's 'resnet18' is a ResNet, not a plain vision"),
        (dict(name=NAMES[0], global_pool='max'), "(global_pool='max', num_classes=1000) is not linear on the class token"),
        (dict(name=NAMES[0], num_classes=0), "(global_pool='token', num_classes=0) is not"),
        (dict(name=NAMES[0], embed_dims=24), "did you mean 'embed_dim'?"),
    ],
)  # fmt: skip
def test_mistakes(arguments, message) -> None:
    with pytest.raises(ConfigError) as error:
        TimmClassifier(**{'pretrained': False, **arguments})
    assert message in str(error.value)


def test_nothing_is_fetched_for_a_cnn(monkeypatch) -> None:
    monkeypatch.setattr('wsss_plugins.backbones.timm_weights.answers', lambda _: True)
    asked = []
    create = timm.create_model
    monkeypatch.setattr(
        timm, 'create_model', lambda n, p, **k: asked.append(p) or create(n, False, **k)
    )
    with pytest.raises(ConfigError, match='is a ResNet'):
        TimmClassifier('resnet18', pretrained=True)
    assert asked == [False]
    TimmClassifier(NAMES[0], pretrained=True, **SMALL)
    assert asked == [False, True]
