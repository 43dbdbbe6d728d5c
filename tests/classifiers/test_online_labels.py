"""Labels that a network makes of its own maps, on cases that one can think out."""

from __future__ import annotations

import pytest
import torch

from wsss_plugins.classifiers.online_labels import (
    Thresholds,
    inside,
    interest,
    labels_of_maps,
    local_crops,
    multi_scale_maps,
)
from wsss_plugins.classifiers.projection_head import ProjectionHead
from wsss_plugins.classifiers.refined_labels import refined_labels, refined_maps
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import MODELS, build_as

MIDDLE = Thresholds(high=0.7, low=0.3, background=0.5)
WHOLE = torch.tensor([[0, 4, 0, 6]])


class Still:
    """Refines nothing."""

    def kernel(self, images):
        return images

    def average(self, maps, kernel):
        return maps


def columns() -> torch.Tensor:
    """One image of two classes, whose scores rise from left to right."""
    rising = torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]).expand(4, 6)
    return torch.stack([rising, torch.ones(4, 6)])[None]


def test_scores_between_the_thresholds_are_unsure() -> None:
    labels = torch.tensor([[1, 0]])
    found = labels_of_maps(columns(), labels, MIDDLE, WHOLE)
    assert found[0, 0].tolist() == [0, 0, 255, 255, 1, 1]
    plain = labels_of_maps(columns(), labels, MIDDLE)
    assert plain[0, 0].tolist() == [0, 0, 0, 1, 1, 1]
    assert interest(columns(), labels, MIDDLE)[0, 0].tolist() == [0, 0, 1, 1, 2, 2]
    part = labels_of_maps(columns(), labels, MIDDLE, torch.tensor([[1, 3, 2, 6]]))
    assert (part[0, 0] == 255).all() and (part[0, 1, :2] == 255).all()


def test_an_image_without_a_class_is_background() -> None:
    none = torch.zeros(1, 2)
    assert not labels_of_maps(columns(), none, MIDDLE, WHOLE).any()
    images = torch.rand(1, 3, 4, 6)
    assert not refined_labels(Still(), images, columns(), none, WHOLE, MIDDLE).any()


def test_refined_labels_agree_on_both_backgrounds() -> None:
    labels = torch.tensor([[1, 0]])
    found = refined_labels(
        Still(), torch.rand(1, 3, 4, 6), columns(), labels, WHOLE, MIDDLE
    )
    assert set(found.unique().tolist()) == {0, 1, 255}
    assert (found[0, 0].diff() != 0).sum() == 2, 'background, unsure, object'
    left = refined_labels(
        Still(),
        torch.rand(1, 3, 4, 6),
        columns(),
        labels,
        torch.tensor([[0, 4, 0, 3]]),
        MIDDLE,
    )
    assert (left[..., 3:] == 255).all() and torch.equal(left[..., :3], found[..., :3])


def test_refined_maps_stay_in_the_box() -> None:
    maps = torch.rand(2, 1, 3, 4, 6)
    box = torch.tensor([[1, 4, 0, 4]])
    both = refined_maps(
        Still(), torch.rand(1, 3, 4, 6), maps, torch.tensor([[0, 1]]), box
    )
    found = both[1]
    assert (
        not found[:, 1].any() and not found[:, :, 0].any() and not found[..., 4:].any()
    )
    assert found[0, 2, 1:, :4].any()
    assert inside(box, (4, 6)).sum() == 12


def test_maps_of_several_scales_are_mirror_images_of_the_mirror_image() -> None:
    weight = torch.randn(2, 3, 4, 4)

    def maps_of(images):
        return [torch.nn.functional.conv2d(images, weight, stride=4)]

    images = torch.randn(2, 3, 16, 24)
    (found,) = multi_scale_maps(maps_of, images, (1.0, 0.5))
    (mirrored,) = multi_scale_maps(maps_of, images.flip(-1), (0.5,))
    torch.testing.assert_close(mirrored.flip(-1), found)
    assert found.shape == (2, 2, 16, 24) and found.amin() == 0 and found.amax() <= 1


def test_crops_avoid_objects_and_know_what_they_show() -> None:
    images = torch.arange(2 * 3 * 12 * 12).float().view(2, 3, 12, 12)
    region = torch.zeros(2, 12, 12, dtype=torch.long)
    region[0, :, 7:] = 2
    region[1] = 2
    crops, flags = local_crops(images, region, size=4, count=5)
    assert crops.shape == (5, 2, 3, 4, 4) and flags.shape == (2, 7)
    assert (flags[:, :2] == 1).all() and (flags[1] == 1).all(), 'objects everywhere'
    for number in range(5):
        left = int(crops[number, 0, 0, 0, 0]) % 12
        assert left < 5, 'its centre is no object'
        assert flags[0, 2 + number] == float(max(0, left + 4 - 7) * 2 / 4 > 0.2)


def test_thresholds_must_be_in_order() -> None:
    with pytest.raises(ConfigError, match='low <= background <= high'):
        Thresholds(high=0.3, low=0.5, background=0.4)


def test_directions_have_length_1() -> None:
    head = build_as(
        MODELS,
        dict(type='ProjectionHead', embed_dims=6, hidden=8, bottleneck=4, out=5),
        ProjectionHead,
    )
    tokens = torch.randn(3, 6)
    before = head(tokens)
    assert before.shape == (3, 5) and before.abs().max() <= 1
    head.directions.data *= 7
    torch.testing.assert_close(head(tokens), before)
