"""TS-CAM by its definition."""

from __future__ import annotations

import pytest
import torch

from wsss_plugins.backbones import ExViT, TimmViT, capture
from wsss_plugins.classifiers import ConvHead, WSSSClassifier
from wsss_plugins.errors import UserError
from wsss_plugins.seeds import TSCAM

LABELS = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 1, 0]])
TINY = dict(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3)


@pytest.fixture
def images():
    return torch.randn(2, 3, 24, 40, dtype=torch.float64)


def test_attention_of_all_blocks_times_the_semantic_map(images) -> None:
    head = dict(type=ConvHead, num_classes=5)
    model = WSSSClassifier(backbone=TimmViT(**TINY), head=head).double().eval()
    with torch.no_grad(), capture(model.backbone, images) as trace:
        semantic = model.head.conv(trace.tokens.patch)
    expected = torch.zeros(2, 5, 3, 5, dtype=torch.float64)
    for attn in trace.attn:
        for head_attn in attn.unbind(1):
            where = head_attn[:, 0, 1:].reshape(2, 1, 3, 5)
            expected += where * semantic / 3
    expected = expected.clamp(min=0) * LABELS[..., None, None]
    torch.testing.assert_close(TSCAM()(model, images, LABELS), expected)


def test_of_the_distilled_and_the_plain_head(images, tiny_classifier) -> None:
    model = tiny_classifier(prefix=2).double().eval()
    with torch.no_grad(), capture(model.backbone, images) as trace:
        where = sum(a.mean(1)[:, 0, 2:] for a in trace.attn).reshape(2, 1, 3, 5)
        expected = where * model.cam_logits(trace.tokens) * LABELS[..., None, None]
    found = TSCAM().signed_maps(model, images, LABELS)
    torch.testing.assert_close(found, expected)


def test_what_is_refused(images, tiny_mctformer) -> None:
    with pytest.raises(UserError, match='MultiClassTokenViT has 5: take MCTformerMap'):
        TSCAM()(tiny_mctformer().double(), images, LABELS)
    backbone = ExViT(class_token=False, **TINY)
    head = dict(type='TokenHead', num_classes=5, sources=('patch',))
    model = WSSSClassifier(backbone=backbone, head=head).double()
    with pytest.raises(UserError, match='ExViT has 0: take CAM'):
        TSCAM()(model, images, LABELS)
