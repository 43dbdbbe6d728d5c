"""Many class tokens: their start, their weights, their positions, what they see."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer

from wsss_plugins.backbones import MultiClassTokenViT, TimmViT, capture
from wsss_plugins.backbones.multi_class_token import resample_positions
from wsss_plugins.errors import CheckpointError, ConfigError

TINY = dict(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3)


@pytest.fixture
def images():
    return torch.randn(2, 3, 24, 40)


def test_tokens_of_every_layer(images) -> None:
    backbone = MultiClassTokenViT(num_classes=5, **TINY)
    tokens = backbone(images)
    assert tokens.prefix.shape == (2, 5, 24) and tokens.patch.shape == (2, 24, 3, 5)
    assert (backbone.num_prefix, backbone.num_class_tokens) == (5, 5)
    with capture(backbone, images) as trace:
        hidden = torch.stack(trace.hidden)[:, :, :5]
        assert trace.attn[0].shape == (2, 3, 20, 20)
    torch.testing.assert_close(tokens.prefix_layers, hidden)
    torch.testing.assert_close(tokens.prefix_layers[-1], tokens.prefix)  # no last norm


def test_from_scratch_no_two_tokens_are_alike() -> None:
    vit = MultiClassTokenViT(num_classes=5, **TINY).vit
    for start in (vit.cls_token[0], vit.pos_embed[0, :5]):
        gaps = torch.cdist(start, start)[~torch.eye(5, dtype=torch.bool)]
        assert (gaps > 1e-3).all() and 0.01 < start.std() < 0.03


@pytest.mark.parametrize('kind', ['plain', 'distilled'])
def test_weights_of_one_class_token_are_repeated(kind, tmp_path, images) -> None:
    cls = VisionTransformerDistilled if kind == 'distilled' else VisionTransformer
    vit = cls(num_classes=3, **TINY)
    torch.nn.init.normal_(vit.cls_token)
    file = str(tmp_path / 'vit.pth')
    torch.save({'model': vit.state_dict()}, file)
    backbone = MultiClassTokenViT(num_classes=4, pretrained=file, **TINY)
    for copied, given in (
        (backbone.vit.cls_token, vit.cls_token),
        (backbone.vit.pos_embed[:, :4], vit.pos_embed[:, :1]),
    ):
        torch.testing.assert_close(copied, given.expand(-1, 4, -1))
    torch.testing.assert_close(backbone.vit.pos_embed[:, -16:], vit.pos_embed[:, -16:])
    assert 'blocks.2.mlp.fc2.bias' in backbone.report.loaded
    assert 'head.weight' in backbone.report.unexpected
    assert backbone.report.missing == ()


def test_one_class_token_is_the_plain_transformer(images) -> None:
    plain = TimmViT(final_norm=False, **TINY)
    one = MultiClassTokenViT(plain.vit, num_classes=1)
    square = torch.randn(2, 3, 32, 32)
    expected, found = plain(square), one(square)
    torch.testing.assert_close(found.prefix, expected.prefix)
    torch.testing.assert_close(found.patch, expected.patch)


def test_copies_of_one_token_stay_alike(images) -> None:
    """What the released start means: only the labels tell classes apart."""
    vit = VisionTransformer(num_classes=0, **TINY)
    tokens = MultiClassTokenViT(vit, num_classes=4)(images)
    torch.testing.assert_close(tokens.prefix, tokens.prefix[:, :1].expand(-1, 4, -1))


def test_a_distillation_token_stands_behind(images) -> None:
    vit = VisionTransformerDistilled(num_classes=0, **TINY)
    torch.nn.init.normal_(vit.dist_token, 7.0, 0.0)
    backbone = MultiClassTokenViT(vit, num_classes=4)
    assert (backbone.num_prefix, backbone.num_class_tokens) == (5, 4)
    tokens, _ = backbone.embed(images)
    assert (tokens[:, 4] == 7).all() and not (tokens[:, 3] == 7).any()


@pytest.mark.parametrize('split', [False, True], ids=['v2', 'plus'])
def test_its_own_weights_load_as_they_are(split, tmp_path, images) -> None:
    first = MultiClassTokenViT(num_classes=4, **TINY)
    weights = first.vit.state_dict()
    if split:
        table = weights.pop('pos_embed')
        weights |= {'pos_embed_cls': table[:, :4], 'pos_embed_pat': table[:, 4:]}
    file = str(tmp_path / 'mct.pth')
    torch.save({'model': weights}, file)
    again = MultiClassTokenViT(num_classes=4, pretrained=file, **TINY)
    torch.testing.assert_close(again(images).prefix, first(images).prefix)
    assert again.report.unexpected == again.report.missing == ()
    with pytest.raises(
        CheckpointError, match=r'has tokens for 4 classes, not for 5: gi'
    ):
        MultiClassTokenViT(num_classes=5, pretrained=file, **TINY)


def test_weights_on_another_grid(tmp_path) -> None:
    first = MultiClassTokenViT(num_classes=4, **TINY)
    file = str(tmp_path / 'mct.pth')
    torch.save(first.vit.state_dict(), file)
    larger = MultiClassTokenViT(
        num_classes=4, pretrained=file, **(TINY | dict(img_size=(40, 48)))
    )
    assert larger.vit.pos_embed.shape == (1, 4 + 30, 24)
    torch.testing.assert_close(larger.vit.pos_embed[:, :4], first.vit.pos_embed[:, :4])


def test_positions_by_hand() -> None:
    table = torch.randn(1, 6, 2, dtype=torch.float64)
    maps = table.transpose(1, 2).reshape(1, 2, 2, 3)
    expected = F.interpolate(maps, (4, 5), mode='bicubic', align_corners=False)
    found = resample_positions(table, (2, 3), (4, 5))
    torch.testing.assert_close(found, expected.flatten(2).transpose(1, 2))
    assert resample_positions(table, (2, 3), (2, 3)) is table
    shifted = resample_positions(table, (2, 3), (2, 3), released=True)
    assert shifted.shape == table.shape and (shifted - table).abs().max() > 1e-3


@pytest.mark.parametrize('grid', [(1, 1), (15, 15), (28, 28), (21, 37)])
def test_the_released_factor_gives_the_grid(grid) -> None:
    """Cell i is read at (i + 1/2) * 14 / (side + 0.1) - 1/2, by cubic convolution."""
    table = torch.randn(1, 196, 3, dtype=torch.float64)
    found = resample_positions(table, (14, 14), grid, released=True)
    rows, columns = (cubic_weights(side) for side in grid)
    maps = table.reshape(14, 14, 3)
    expected = torch.einsum('yr,xc,rcd->yxd', rows, columns, maps)
    torch.testing.assert_close(found, expected.reshape(1, -1, 3))


def cubic_weights(side: int, trained: int = 14, a: float = -0.75) -> torch.Tensor:
    """What each of ``side`` cells takes of each trained one (Keys, 1981, eq. 4)."""
    weights = torch.zeros(side, trained, dtype=torch.float64)
    for cell in range(side):
        place = (cell + 0.5) * trained / (side + 0.1) - 0.5
        for tap in range(math.floor(place) - 1, math.floor(place) + 3):
            x = abs(place - tap)
            near = (a + 2) * x**3 - (a + 3) * x**2 + 1
            far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
            weights[cell, min(max(tap, 0), trained - 1)] += near if x <= 1 else far
    return weights


def test_checkpointing_changes_nothing(images) -> None:
    backbone = MultiClassTokenViT(num_classes=5, **TINY)
    gradients = []
    for backbone.checkpoint in (False, True):
        backbone.zero_grad()
        backbone(images).prefix_layers.square().sum().backward()
        gradients.append(backbone.vit.cls_token.grad.clone())
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().max() > 0


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(pos_embed='bicubic'), "needs pos_embed of .* not 'bicubic' and 5"),
        (dict(num_classes=0), "num_classes >= 1, not 'clean' and 0"),
        (
            dict(class_token=False, global_pool='avg'),
            'repeats the class token, and this',
        ),
        (dict(dept=3), "MultiClassTokenViT takes no argument 'dept'"),
    ],
)
def test_mistakes(wrong, message) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        MultiClassTokenViT(**(dict(num_classes=5) | TINY | wrong))
    assert '\n' not in str(error.value)
