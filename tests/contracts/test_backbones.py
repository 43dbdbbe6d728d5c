"""Every registered backbone keeps the contract of its base class.

A :class:`TokenBackbone` gives tokens, any other backbone the feature maps that
mmsegmentation's decode heads read. tests/contract_backbones.py lists one or several small
ones of every kind.
"""

from __future__ import annotations

import copy
import pickle
import re
from functools import cache
from typing import Any

import pytest
import torch
from contract_backbones import MAPPED, TOKENED, Tokened, build, has_mmpretrain, outputs
from torch import Tensor, nn

from wsss_plugins.backbones import EMHA, TokenBackbone, Tokens, capture
from wsss_plugins.errors import DataError, UserError
from wsss_plugins.registry import MODELS, plugin_names

ALL = {**TOKENED, **{f'map-{name}': case for name, case in MAPPED.items()}}
SIZES = {'square': (2, 2), 'wide': (2, 3), 'high': (3, 1)}
NEEDS_OTHER_WEIGHTS = {'TransformerStem', 'TimmMaps'}
"""Backbones whose file of weights is that of a model that they are a part of, or that is a
part of them."""


@cache
def made(name: str) -> Any:
    """The backbone of that name in evaluation mode; change a copy."""
    if name == 'conformer' and not has_mmpretrain():
        pytest.skip('mmpretrain is not installed')
    return build(ALL[name].config)


def stride_of(name: str) -> int:
    case = ALL[name]
    return case.stride if isinstance(case, Tokened) else max(s for _, s in case.maps)


def images_of(name: str, cells: tuple[int, int] = (2, 3), extra: int = 0) -> Tensor:
    """Three images of ``cells`` cells of the coarsest map."""
    rows, columns = (n * stride_of(name) + extra for n in cells)
    numbers = torch.Generator().manual_seed(1)
    return torch.randn((3, 3, rows, columns), generator=numbers, dtype=torch.float64)


@torch.no_grad()
def run(backbone: nn.Module, images: Tensor) -> dict[str, Tensor]:
    return outputs(backbone(images))


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor], **how) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, **how)


def hooks_of(model: nn.Module) -> int:
    kinds = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks')
    return sum(len(getattr(m, kind)) for m in model.modules() for kind in kinds)


def assert_one_line(error: Exception) -> None:
    text = str(error)
    assert '\n' not in text and re.search(r': |take |use |give |set ', text), (
        f'a refusal is one line that says what to do, not: {text}'
    )


def test_every_registered_backbone_is_tested_here() -> None:
    named = {n for n in plugin_names(MODELS) if n in MODELS.module_dict}
    ours = {
        n
        for n in named
        if MODELS.module_dict[n].__module__.startswith('wsss_plugins.backbones')
    }
    assert ours == {case.config['type'] for case in ALL.values()}


@pytest.mark.parametrize('cells', SIZES.values(), ids=SIZES)
@pytest.mark.parametrize('name', TOKENED)
def test_tokens_have_the_stated_sizes(name: str, cells: tuple[int, int]) -> None:
    """Rows come before columns, and D, P and the stride are what the attributes say."""
    case, backbone, images = TOKENED[name], made(name), images_of(name, cells)
    assert isinstance(backbone, TokenBackbone)
    stated = (backbone.embed_dims, backbone.stride)
    assert stated == (case.channels, case.stride)
    assert (backbone.num_prefix, backbone.num_class_tokens) == case[3:]
    with torch.no_grad():
        tokens = backbone(images)
    assert isinstance(tokens, Tokens)
    grid = backbone.grid(images)
    extra = getattr(backbone, 'extra', 0)  # LargeFOV has a row and a column more
    assert grid == tuple(n + extra for n in cells)
    channels, prefix = case.channels, (3, case.prefix, case.channels)
    assert tokens.prefix.shape == prefix
    assert tokens.patch.shape == (3, channels, *grid)
    assert tokens.fused is None or tokens.fused.shape == tokens.patch.shape
    layers = tokens.prefix_layers
    assert layers is None or layers.shape == (len(backbone.blocks()), *prefix)


@pytest.mark.parametrize('cells', SIZES.values(), ids=SIZES)
@pytest.mark.parametrize('name', MAPPED)
def test_maps_have_the_stated_sizes(name: str, cells: tuple[int, int]) -> None:
    """Rows come before columns; sides that are no multiple are rounded up."""
    name, case = f'map-{name}', MAPPED[name]
    # Poolings of LargeFOV round up: a side of 8n has n + 1 cells, one of 8n - 7 has n.
    over = case.config['type'] == 'VGG16LargeFOV'
    for extra in (-7, 1) if over else (0, -1):
        images = images_of(name, cells, extra)
        maps = run(made(name), images).values()
        assert len(maps) == len(case.maps)
        for found, (channels, stride) in zip(maps, case.maps, strict=True):
            cover = [-(-side // stride) for side in images.shape[-2:]]
            assert found.shape == (3, channels, *cover)


@pytest.mark.parametrize('name', ALL)
def test_the_numbers_are_finite_and_of_the_type_of_the_images(name: str) -> None:
    """float32 gives what float64 gives, in float32."""
    images, exact = images_of(name), run(made(name), images_of(name))
    single = run(copy.deepcopy(made(name)).float(), images.float())
    for key, value in exact.items():
        assert value.dtype == torch.float64 and value.isfinite().all()
        assert single[key].dtype == torch.float32
        assert value.numel() == 0 or value.std() > 0, 'all numbers are the same'
        scale = value.abs().amax().item() if value.numel() else 1.0
        torch.testing.assert_close(
            single[key].double(), value, rtol=1e-3, atol=1e-4 * scale
        )


@pytest.mark.parametrize('name', ALL)
def test_batch_equals_one_by_one(name: str) -> None:
    backbone, images = made(name), images_of(name)
    together = run(backbone, images)
    for n in range(3):
        alone = run(backbone, images[n : n + 1])
        for key, value in alone.items():
            axis = 1 if key == 'prefix_layers' else 0
            expected = together[key].narrow(axis, n, 1)
            torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-12)
    different = together.get('patch', next(iter(together.values())))
    assert not torch.allclose(different[0], different[1]), 'the image has no influence'


@pytest.mark.parametrize('name', ALL)
def test_the_images_and_the_module_are_left_alone(name: str) -> None:
    backbone, images = made(name), images_of(name)
    state = {key: value.clone() for key, value in backbone.state_dict().items()}
    before = images.clone()
    first, second = run(backbone, images), run(backbone, images)
    assert_equal(second, first, rtol=0, atol=0)
    assert torch.equal(images, before)
    assert hooks_of(backbone) == 0
    assert_equal(backbone.state_dict(), state, rtol=0, atol=0)


@pytest.mark.parametrize('name', TOKENED)
def test_a_size_off_the_grid_fits_or_is_refused(name: str) -> None:
    """``grid`` says how many patches there are, or which sides are allowed."""
    backbone, images = made(name), images_of(name, extra=1)
    try:
        grid = backbone.grid(images)
    except DataError as error:
        assert_one_line(error)
        height, width = images.shape[-2:]
        assert f'{height}x{width}' in str(error) and str(stride_of(name)) in str(error)
        with pytest.raises(DataError, match=re.escape(str(error))):
            run(backbone, images)
        return
    assert run(backbone, images)['patch'].shape[-2:] == grid


@pytest.mark.parametrize('name', TOKENED)
def test_chosen_patches_are_computed_in_the_given_order(name: str) -> None:
    """All of them in another order are the same patches; a few are ``(N, D, 1, n)``."""
    backbone, images = made(name), images_of(name)
    order = torch.tensor([[4, 1, 0, 5, 2, 3]] * 2 + [[5, 4, 3, 2, 1, 0]])
    try:
        with torch.no_grad():
            moved, few = backbone(images, order), backbone(images, order[:, :2])
    except UserError as error:
        assert not backbone.attention_modules(), 'a transformer can leave patches out'
        return assert_one_line(error)
    whole = run(backbone, images)
    assert few.patch.shape == (3, backbone.embed_dims, 1, 2)
    index = order[:, None].expand(-1, backbone.embed_dims, -1)
    for key in ('patch', 'fused'):
        if key in whole:
            expected = whole[key].flatten(2).gather(2, index)
            found = getattr(moved, key)[:, :, 0]
            if not any(isinstance(m, EMHA) for m in backbone.modules()):
                torch.testing.assert_close(found, expected)
            assert found.shape == expected.shape
    assert few.prefix.shape == moved.prefix.shape == whole['prefix'].shape


@pytest.mark.parametrize('name', TOKENED)
def test_attention_is_captured_or_refused(name: str) -> None:
    backbone, images = made(name), images_of(name)
    if not backbone.attention_modules():
        with pytest.raises(UserError) as error, capture(backbone, images):
            pass
        return assert_one_line(error.value)
    expected = run(backbone, images)
    with torch.no_grad(), capture(backbone, images) as trace:
        assert hooks_of(backbone) == 0, 'hooks end with the forward pass'
    assert_equal(outputs(trace.tokens), expected, rtol=1e-9, atol=1e-12)
    length = trace.num_prefix + trace.grid[0] * trace.grid[1]
    assert len(trace.attn) == trace.depth == len(backbone.attention_modules())
    for matrix in trace.attn:
        assert matrix.ndim == 4 and matrix.shape[0] == 3
        assert matrix.shape[-2:] == (length, length)
    if not any(isinstance(m, EMHA) for m in backbone.modules()):
        for matrix in trace.attn:
            assert (matrix >= 0).all()
            torch.testing.assert_close(matrix.sum(-1), torch.ones_like(matrix[..., 0]))


@pytest.mark.parametrize('name', TOKENED)
def test_scores_have_gradients_by_every_attention(name: str) -> None:
    """Except the last attention of what the score does not read."""
    backbone, images = made(name), images_of(name)
    if not backbone.attention_modules():
        return  # refused: see above
    with capture(backbone, images, gradients=True) as trace:
        tokens = trace.tokens
        scores = torch.stack([tokens.patch.sum((1, 2, 3)), tokens.patch[:, 0, 0, 0]], 1)
        gradients = trace.attention_gradients(scores, torch.ones(1, 3, 2))
    for gradient, matrix in zip(gradients, trace.attn, strict=True):
        assert gradient.shape == (1, *matrix.shape)
        assert gradient.isfinite().all() and (gradient != 0).any()
    assert all(p.grad is None for p in backbone.parameters())


@pytest.mark.parametrize('name', TOKENED)
def test_blocks_give_the_sequence_and_finish_the_tokens(name: str) -> None:
    backbone, images = made(name), images_of(name)
    if not backbone.blocks():
        with pytest.raises(UserError) as error:
            backbone.finish(torch.zeros(1, 6, backbone.embed_dims), (2, 3))
        return assert_one_line(error.value)
    with torch.no_grad(), capture(backbone, images, attention=False) as trace:
        last = backbone.finish(trace.hidden[-1], trace.grid)
    assert len(trace.hidden) == len(backbone.blocks())
    torch.testing.assert_close(last.prefix, trace.tokens.prefix)
    if getattr(backbone, 'patch', 'last') == 'last':
        torch.testing.assert_close(last.patch, trace.tokens.patch)


@pytest.mark.parametrize('name', TOKENED)
def test_one_module_for_every_operation_or_a_refusal(name: str) -> None:
    """:meth:`explicit` computes the same tokens and attention with the same weights."""
    backbone, images = made(name), images_of(name)
    try:
        view = backbone.explicit()
    except UserError as error:
        return assert_one_line(error)
    with torch.no_grad():
        tokens, attention = view(images)
        with capture(backbone, images) as trace:
            pass
    torch.testing.assert_close(tokens.patch, trace.tokens.patch)
    torch.testing.assert_close(tokens.prefix, trace.tokens.prefix)
    for found, expected in zip(attention, trace.attn, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('name', ALL)
def test_copies_and_pickles_compute_the_same(name: str) -> None:
    backbone, images = made(name), images_of(name)
    expected = run(backbone, images)
    for again in (copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone))):
        assert_equal(run(again, images), expected, rtol=0, atol=0)


@pytest.mark.parametrize('name', ALL)
def test_the_state_dict_holds_everything(name: str) -> None:
    """Another one with the weights of the first computes what the first does."""
    first, images = made(name), images_of(name)
    other = build(ALL[name].config, seed=1)
    expected, found = run(first, images), run(other, images)
    some = list(expected)[-1] if name not in TOKENED else 'patch'
    assert not torch.allclose(found[some], expected[some]), 'both started alike'
    other.load_state_dict(first.state_dict())
    assert_equal(run(other, images), expected, rtol=0, atol=0)


@pytest.mark.parametrize('name', ALL)
def test_weights_of_a_file_outlive_the_initialisation(name: str, tmp_path) -> None:
    """``pretrained=FILE``; mmengine's ``init_weights`` before training keeps them."""
    config = ALL[name].config
    if config['type'] in NEEDS_OTHER_WEIGHTS:
        return
    first = made(name).float()
    path = tmp_path / 'weights.pth'
    torch.save(first.state_dict(), path)
    first.double()
    other = MODELS.build(dict(config, pretrained=str(path)))
    other.init_weights()
    expected = {key: value.float() for key, value in first.state_dict().items()}
    found = {key: value.float() for key, value in other.state_dict().items()}
    assert_equal(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize('name', ALL)
def test_training_reaches_every_weight_that_is_not_frozen(name: str) -> None:
    """A parameter without a gradient would make distributed training wait for ever."""
    backbone = copy.deepcopy(made(name)).train()
    found = outputs(backbone(images_of(name, (3, 4))))
    sum((value**2).sum() for value in found.values()).backward()
    without = [
        n for n, p in backbone.named_parameters() if (p.grad is None) == p.requires_grad
    ]
    assert without == [], 'these have no gradient and are to be trained, or vice versa'


WIDE = dict(type='WideResNet38', base_channels=2)
FROZEN = {
    'resnet38-nothing': (dict(WIDE, frozen_stages=-1, norm_eval=False), r'(?!)'),
    'resnet38-conv1a': (dict(WIDE, norm_eval=False), r'conv1a\.'),
    'resnet38-b3': (
        dict(WIDE, frozen_stages=2, norm_eval=False),
        r'(conv1a|b2|b2_\d|b3|b3_\d)\.',
    ),
    'resnet38-norms': (dict(WIDE, frozen_stages=-1), r'.*bn.*\.'),
    'cnn-layer1': (
        dict(type='TimmCNN', name='test_resnet', frozen=('conv1', 'bn1', 'layer1')),
        r'net\.(conv1|bn1|layer1)\.',
    ),
    'cnn-norms': (
        dict(type='TimmCNN', name='test_resnet', norm_eval=True),
        r'net\.(conv1\.[14]|(.*\.)?bn\d|.*\.downsample\.2)\.',
    ),
    'vit-last-norm': (dict(TOKENED['vit-no-norm'].config), r'vit\.norm\.'),
}
"""Configs that freeze parts, and the names of what is frozen."""


@pytest.mark.parametrize('config, pattern', FROZEN.values(), ids=FROZEN)
def test_frozen_parts_are_not_trained(config: dict, pattern: str) -> None:
    """A training step with weight decay moves everything else, statistics among it."""
    backbone = build(config).train()
    frozen = re.compile(pattern)
    trained = {n for n, p in backbone.named_parameters() if p.requires_grad}
    assert trained == {n for n, _ in backbone.named_parameters() if not frozen.match(n)}
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    optimiser = torch.optim.SGD(
        [p for p in backbone.parameters() if p.requires_grad], 0.1, weight_decay=0.1
    )
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    sum((value**2).sum() for value in outputs(backbone(images)).values()).backward()
    optimiser.step()
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, before[key]) == bool(frozen.match(key)), key
