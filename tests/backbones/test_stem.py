"""Convolutional stems: what their norms do to the images of a batch."""

from __future__ import annotations

import pytest
import torch

from wsss_plugins.backbones import TimmViT, TransformerStem

SIZE = dict(img_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=2)


@pytest.mark.parametrize(('stem', 'alone'), [('conv', False), ('conv_group', True)])
def test_whether_images_meet_in_training(stem, alone) -> None:
    """With group norm an image's tokens are its own; batch norm mixes in the others."""
    vit = TimmViT(**SIZE, stem=stem).double().train()
    images = torch.randn(4, 3, 24, 40, dtype=torch.float64)
    together = vit(images).patch
    one_by_one = torch.cat([vit(image[None]).patch for image in images])
    assert torch.allclose(together, one_by_one, rtol=1e-9, atol=1e-12) is alone
    assert together.shape == (4, 24, 3, 5)


def test_group_norm_by_its_definition() -> None:
    """Widths 6, 12 and 24 make 2, 4 and 8 groups."""
    stem = TimmViT(**SIZE, stem='conv_group').double().vit.patch_embed
    values = torch.randn(2, 3, 24, 40, dtype=torch.float64)
    for convolution, norm, count in zip(
        stem.layers[::3], stem.layers[1::3], (2, 4, 8), strict=True
    ):
        values = convolution(values)
        groups = values.reshape(2, count, -1)
        mean = groups.mean(2, keepdim=True)
        spread = (groups.var(2, keepdim=True, correction=0) + 1e-5).sqrt()
        expected = ((groups - mean) / spread).reshape(values.shape)
        torch.testing.assert_close(norm(values), expected)


def test_its_maps_as_a_backbone_of_their_own() -> None:
    """One map after each of the three strides; the last gives the transformer's tokens."""
    vit = TimmViT(**SIZE, stem='conv_group').double()
    stem = TransformerStem(**SIZE, stem='conv_group').double()
    embed = vit.vit.patch_embed
    stem.stages.load_state_dict(
        {
            f'{i // 3}.{i % 3}.{name}': value
            for i, layer in enumerate(embed.layers)
            for name, value in layer.state_dict().items()
        }
    )
    images = torch.randn(1, 3, 24, 40, dtype=torch.float64)
    maps, values = stem(images), images
    assert [tuple(m.shape[1:]) for m in maps] == [(6, 12, 20), (12, 6, 10), (24, 3, 5)]
    for found, start in zip(maps, (0, 3, 6), strict=True):
        values = embed.layers[start : start + 3](values)
        torch.testing.assert_close(found, values)
    tokens = embed.proj(maps[-1]).flatten(2).transpose(1, 2)
    torch.testing.assert_close(embed(images), tokens)
