"""TimmViT: sizes, prefixes, positions, subsets of patches, and weights from files."""

from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import save_file

from wsss_plugins.backbones import TimmViT
from wsss_plugins.errors import CheckpointError, ConfigError, DataError
from wsss_plugins.registry import MODELS, build_as

SMALL = dict(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3)


@pytest.fixture
def vit() -> TimmViT:
    return TimmViT(**SMALL).eval()


# Shapes -------------------------------------------------------------------------------


def test_tokens_equal_timms_own(vit) -> None:
    images = torch.randn(2, 3, 32, 32)
    tokens = vit(images)
    expected = vit.vit.forward_features(images)
    both = torch.cat([tokens.prefix, tokens.patch.flatten(2).transpose(1, 2)], 1)
    torch.testing.assert_close(both, expected)


def test_grid_is_row_major_on_a_non_square_image(vit) -> None:
    """Without positions, attention and neighbours, a token is its patch's projection."""
    vit.vit.blocks = torch.nn.Sequential()
    vit.vit.pos_embed.data.zero_()
    vit.final_norm = False
    images = torch.randn(2, 3, 24, 40)
    patch = vit(images).patch
    assert patch.shape == (2, 24, 3, 5)
    projected = torch.nn.functional.conv2d(
        images, vit.vit.patch_embed.proj.weight, vit.vit.patch_embed.proj.bias, stride=8
    )
    torch.testing.assert_close(patch, projected)


def test_size_that_does_not_fit_is_refused(vit) -> None:
    with pytest.raises(DataError) as error:
        vit(torch.randn(1, 3, 30, 40))
    assert str(error.value) == (
        'images of 30x40 do not fit a grid of stride 8: '
        'resize both sides to multiples of 8'
    )


def test_final_norm_can_be_left_out() -> None:
    torch.manual_seed(1)
    with_norm = TimmViT(**SMALL).eval()
    without = TimmViT(**SMALL, final_norm=False).eval()
    without.load_state_dict(with_norm.state_dict())
    images = torch.randn(1, 3, 32, 32)
    bare = without(images).prefix
    torch.testing.assert_close(with_norm.vit.norm(bare), with_norm(images).prefix)
    assert not torch.allclose(bare, with_norm(images).prefix)


@pytest.mark.parametrize(
    'name, prefix, arch, stride',
    [
        ('deit_tiny_distilled_patch16_224', 2, dict(embed_dim=24, num_heads=2), 16),
        ('vit_tiny_patch16_224', 1, dict(embed_dim=24, num_heads=2), 16),
        ('vit_tiny_r_s16_p8_224', 1, dict(embed_dim=24, num_heads=2), 32),
    ],
)
def test_timm_models_by_name(name, prefix, arch, stride) -> None:
    """Plain, distilled and hybrid models agree with timm's own features, non-square."""
    vit = TimmViT(name, depth=2, img_size=(64, 96), **arch).eval()
    assert (vit.num_prefix, vit.stride, vit.embed_dims) == (prefix, stride, 24)
    images = torch.randn(1, 3, 64, 96)
    tokens = vit(images)
    assert tokens.patch.shape == (1, 24, 64 // stride, 96 // stride)
    expected = vit.vit.forward_features(images)
    both = torch.cat([tokens.prefix, tokens.patch.flatten(2).transpose(1, 2)], 1)
    torch.testing.assert_close(both, expected)


# Positions ----------------------------------------------------------------------------


@pytest.mark.parametrize('size', [(24, 40), (64, 32), (16, 16)])
def test_bicubic_positions_equal_timms(size) -> None:
    ours = TimmViT(**SMALL).eval()
    timms = timm.models.VisionTransformer(
        num_classes=0, dynamic_img_size=True, **SMALL
    ).eval()
    timms.load_state_dict(ours.vit.state_dict())
    images = torch.randn(2, 3, *size)
    expected = timms.forward_features(images)
    torch.testing.assert_close(ours(images).prefix, expected[:, :1])


def test_bilinear_positions_are_a_plain_resize() -> None:
    vit = TimmViT(**SMALL, pos_embed='bilinear')
    table = torch.arange(16.0).reshape(1, 16, 1).expand(1, 16, 24)
    wide = vit._resample(table, (4, 8))[0, :, 0].reshape(4, 8)
    # Half-pixel centres: position 0.25 before the first trained one is clamped to it.
    row = torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])
    torch.testing.assert_close(wide, row + 4 * torch.arange(4.0)[:, None])
    assert vit._resample(table, (4, 4)) is table


# Subsets of patches -------------------------------------------------------------------


def test_all_patches_in_another_order_are_the_same_patches(vit) -> None:
    vit.double()
    images = torch.randn(2, 3, 24, 40, dtype=torch.float64)
    full = vit(images)
    order = torch.stack([torch.randperm(15), torch.randperm(15)])
    some = vit(images, keep=order)
    assert some.patch.shape == (2, 24, 1, 15)
    torch.testing.assert_close(some.prefix, full.prefix)
    for n in range(2):
        expected = full.patch[n].flatten(1)[:, order[n]]
        torch.testing.assert_close(some.patch[n, :, 0], expected)


def test_patches_left_out_have_no_influence(vit) -> None:
    images = torch.randn(1, 3, 32, 32)
    other = images.clone()
    other[..., :8, :8] = 9  # patch 0
    without = torch.arange(1, 16)[None]
    torch.testing.assert_close(vit(images, without).prefix, vit(other, without).prefix)
    assert not torch.allclose(vit(images).prefix, vit(other).prefix)


# Weights ------------------------------------------------------------------------------


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize('prefix', ['', 'backbone.vit.', 'module.'])
def test_local_file_round_trip(vit, tmp_path, suffix, prefix) -> None:
    state = {f'{prefix}{k}': v.clone() for k, v in vit.vit.state_dict().items()}
    path = tmp_path / f'weights{suffix}'
    if suffix == '.pth':
        torch.save(dict(state_dict=state), path)
    else:
        save_file(state, path)
    torch.manual_seed(5)
    images = torch.randn(1, 3, 32, 32)
    for config in (
        dict(pretrained=str(path)),
        dict(init_cfg=dict(type='Pretrained', checkpoint=str(path))),
    ):
        again = build_as(MODELS, dict(type=TimmViT, **SMALL, **config), TimmViT).eval()
        torch.testing.assert_close(again(images).patch, vit(images).patch)


def test_weights_of_another_image_size_are_resampled(vit, tmp_path) -> None:
    torch.save(vit.vit.state_dict(), tmp_path / 'small.pth')
    large = TimmViT(**{**SMALL, 'img_size': 64}, pretrained=str(tmp_path / 'small.pth'))
    assert large.vit.pos_embed.shape == (1, 65, 24)
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(large.eval()(images).patch, vit(images).patch)


def test_checkpoint_of_another_model(tmp_path) -> None:
    path = tmp_path / 'other.pth'
    torch.save({'layer.weight': torch.zeros(3)}, path)
    with pytest.raises(CheckpointError) as error:
        TimmViT(**SMALL, pretrained=str(path))
    message = str(error.value)
    assert message.startswith(
        f'checkpoint {path} is of another model than VisionTransformer: 0 loaded; '
    )
    assert '1 unexpected (layer.weight)' in message
    assert message.endswith('give the checkpoint that belongs to this config')


# Mistakes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    'config, message',
    [
        (dict(name='vit_tiny_patch16_244'), "did you mean 'vit_tiny_patch16_224'?"),
        (dict(name='resnet18'), "timm's 'resnet18' is a ResNet, not a plain vision"),
        (dict(embed_dims=24), "TimmViT takes no argument 'embed_dims': did you mean 'embed_dim'?"),
        (dict(pos_embed='nearest'), "pos_embed must be one of ('bicubic', 'bicubic_plain', 'bilinear'), not 'nearest'"),
        (dict(stem='conv', name='vit_tiny_patch16_224'), "stem must be 'patch', or without a timm name"),
        (dict(stem='conv', patch_size=6), 'must be 2, 4, 8 ..., not 6'),
    ],
)  # fmt: skip
def test_mistakes(config, message) -> None:
    with pytest.raises(ConfigError) as error:
        TimmViT(**config)
    assert message in str(error.value)


def test_conv_stem_takes_the_place_of_the_patch_projection() -> None:
    vit = TimmViT(**SMALL, stem='conv').eval()
    assert vit.stride == 8
    images = torch.randn(2, 3, 24, 40)
    assert vit(images).patch.shape == (2, 24, 3, 5)
    moved = torch.roll(images, 8, dims=3)
    first, second = (
        vit.vit.patch_embed(x).reshape(2, 3, 5, 24) for x in (images, moved)
    )
    # A stem sees past its stride, so only inner patches move with the image.
    torch.testing.assert_close(first[:, :, 1:3], second[:, :, 2:4])
