"""MCTformer V1, V2 and + of the released code, array by array."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from models import prefixed

from wsss_plugins.backbones import MultiClassTokenViT, capture
from wsss_plugins.backbones.multi_class_token import resample_positions
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.seeds import MCTformerMap

ARCH = dict(img_size=64, patch_size=16, embed_dim=32, depth=4, num_heads=2)
FILES = ['mctformer_v1', 'mctformer_v2', 'mctformer_v2_nonsquare', 'mctformer_plus']
FUSED = {'mctformer_plus': 'sqrt'}


class PixelSquare(MultiClassTokenViT):
    """As the released code, which asks for the image's sides before it cuts them off."""

    def _resample(self, table, grid):
        released = self.pos_embed == 'released'
        return resample_positions(table, (4, 4), grid, released, square=False)


def head_of(name, classes=5):
    sources = ('class',) if name == 'mctformer_v1' else ('class', 'patch')
    pool = 'rank' if name == 'mctformer_plus' else 'mean'
    return dict(type='MCTHead', num_classes=classes, sources=sources, pool=pool)


def mctformer(arrays, name, tmp_path, kind=MultiClassTokenViT):
    """The model, its backbone read from a file as a user's would be."""
    weights = {k: torch.from_numpy(v) for k, v in prefixed(arrays, 'w.').items()}
    head = {k[5:]: weights.pop(k) for k in ('head.weight', 'head.bias')}
    torch.save({'model': weights}, tmp_path / 'mct.pth')
    backbone = kind(
        num_classes=5,
        pretrained=str(tmp_path / 'mct.pth'),
        pos_embed='clean' if name == 'mctformer_plus' else 'released',
        **ARCH,
    )
    assert backbone.report.unexpected == backbone.report.other_shape == ()
    assert set(backbone.report.missing) == {'norm.weight', 'norm.bias'}
    model = WSSSClassifier(backbone=backbone, head=head_of(name))
    if name != 'mctformer_v1':  # V1 has a linear head that nothing reads
        model.head.conv.load_state_dict(head)
    return model.double().eval()


def seed_head(name, kind, layers, refine):
    plus = name == 'mctformer_plus'
    fuse = FUSED.get(name, 'product') if kind == 'fused' else kind
    return MCTformerMap(fuse, layers, 'mean' if plus else 'sum', refine)


def cases(name):
    kinds = ('mct',) if name == 'mctformer_v1' else ('fused', 'mct', 'patchcam')
    for layers in (3, 4):
        for kind in kinds:
            for word, refine in (('cams', False), ('refined', True)):
                tail = '' if name == 'mctformer_v1' else f'_{kind}'
                yield f'{word}_n{layers}{tail}', seed_head(name, kind, layers, refine)


@pytest.mark.parametrize('name', FILES)
def test_maps(golden, tmp_path, name):
    arrays = golden(name)
    model = mctformer(arrays, name, tmp_path)
    images = torch.from_numpy(arrays['x']).double()
    for key, head in cases(name):
        maps = head(model, images, torch.ones(1, 5)).numpy()
        expected = arrays[key]
        np.testing.assert_allclose(
            maps, expected, rtol=0, atol=5e-6 * expected.max(), err_msg=key
        )


@pytest.mark.parametrize('name', FILES)
def test_logits_tokens_and_attention(golden, tmp_path, name):
    arrays = golden(name)
    model = mctformer(arrays, name, tmp_path)
    images = torch.from_numpy(arrays['x']).double()
    with torch.no_grad(), capture(model.backbone, images) as trace:
        logits = model.head(trace.tokens)
        patch = torch.stack([a[:, :, 5:, 5:].mean(1) for a in trace.attn])
        layers = trace.tokens.prefix_layers
        scores = model.head.scores(trace.tokens).logit()
    close = dict(rtol=5e-6, atol=5e-6)
    np.testing.assert_allclose(logits['class'], arrays['cls_logits'], **close)
    np.testing.assert_allclose(patch, arrays['patch_attn_per_layer'], **close)
    if name != 'mctformer_v1':
        np.testing.assert_allclose(logits['patch'], arrays['patch_logits'], **close)
    if name in ('mctformer_v1', 'mctformer_plus'):
        np.testing.assert_allclose(scores, arrays['score_logits'], **close)
    else:  # V2's code scores by the class tokens alone; ours, as +, by the mean of both
        np.testing.assert_allclose(logits['class'], arrays['score_logits'], **close)
    if name == 'mctformer_plus':
        np.testing.assert_allclose(layers, arrays['class_embeddings'], atol=3e-5)
    assert layers.shape == (4, 1, 5, 32)


@pytest.mark.parametrize('views', ['e2e_s1', 'e2e_s3'])
@pytest.mark.parametrize('name', FILES)
def test_whole_inference(golden, tmp_path, name, views):
    """All scales and their mirror images, of any size, to the maps that are saved.

    The released network cuts off what no patch fits in, at the right and below, after the
    mirroring, and stretches the maps over the whole image. Our stages resize to multiples
    of the stride instead, so that only the steps in between are theirs.
    """
    arrays = golden(name)
    model = mctformer(arrays, name, tmp_path, PixelSquare)
    keys = arrays[f'{views}_keys']
    head = seed_head(name, 'mct' if name == 'mctformer_v1' else 'fused', 3, True)
    labels = torch.zeros(1, 5)
    labels[0, keys] = 1
    size = arrays[f'{views}_in0'].shape[2:]
    total = torch.zeros(1, 5, *size, dtype=torch.float64)
    inputs = [v for k, v in sorted(arrays.items()) if k.startswith(f'{views}_in')]
    assert len(inputs) == int(views[-1])
    for pixels in inputs:
        view = torch.from_numpy(pixels).double()
        for flip in (False, True):
            seen = cut(view.flip(-1) if flip else view)
            maps = F.interpolate(head(model, seen, labels), size, mode='bilinear')
            total += maps.flip(-1) if flip else maps
    found = total[0, keys]
    low, high = found.amin((1, 2), keepdim=True), found.amax((1, 2), keepdim=True)
    got = (found - low) / (high - low + 1e-8)
    np.testing.assert_allclose(got, arrays[f'{views}_cam'], rtol=0, atol=3e-5)


def cut(images):
    rows, columns = (side // 16 * 16 for side in images.shape[2:])
    return images[..., :rows, :columns]


def test_the_released_rule_moves_positions(golden):
    """Same grid, yet not the same table: the law that 'clean' keeps and it does not."""
    table = torch.from_numpy(golden('mctformer_v2')['w.pos_embed'])[:, 5:]
    same = resample_positions(table, (4, 4), (4, 4), True, square=False)
    assert (same - table).abs().max() > 1e-3
    torch.testing.assert_close(resample_positions(table, (4, 4), (4, 4)), table)
    mirrored = table.unflatten(1, (4, 4)).flip(2).flatten(1, 2)
    for released, equal in ((False, True), (True, False)):
        one = resample_positions(table, (4, 4), (3, 5), released)
        two = resample_positions(mirrored, (4, 4), (3, 5), released)
        two = two.unflatten(1, (3, 5)).flip(2).flatten(1, 2)
        assert torch.allclose(one, two, atol=1e-6) is equal
