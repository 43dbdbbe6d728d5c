"""The seed heads of my_project, on a small network with random weights."""

from __future__ import annotations

import pytest
import torch
from my_project.heads import SharpenedCAM

from wsss_plugins.backbones import TimmViT
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.seeds import CAM

IMAGES = torch.linspace(-1, 1, 2 * 3 * 32 * 48).reshape(2, 3, 32, 48).sin()
LABELS = torch.tensor([[1, 0, 1], [0, 1, 0]])


@pytest.fixture
def model() -> WSSSClassifier:
    """A vision transformer with three classes."""
    torch.manual_seed(0)
    backbone = TimmViT(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2)
    head = dict(type='TokenHead', num_classes=3)
    return WSSSClassifier(backbone=backbone, head=head).eval()


def test_the_power_of_cam(model: WSSSClassifier) -> None:
    """Each value is that of CAM to the power."""
    cam = CAM()(model, IMAGES, LABELS)
    assert cam.max() > 0
    torch.testing.assert_close(SharpenedCAM(power=3)(model, IMAGES, LABELS), cam**3)


def test_classes_that_are_absent_have_no_map(model: WSSSClassifier) -> None:
    """Maps are 0 where the image-level label is."""
    maps = SharpenedCAM()(model, IMAGES, LABELS)
    assert maps.shape == (2, 3, 4, 6)
    assert (maps.amax((2, 3)) > 0).equal(LABELS > 0)
