"""Affinity against masks, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from wsss_plugins.errors import DataError
from wsss_plugins.metrics import AffinityContrast, patch_labels


def scores(affinity: np.ndarray, labels: list[int]) -> dict[str, float]:
    contrast = AffinityContrast()
    contrast.update(affinity, np.array(labels))
    return contrast.compute().to_dict()


def test_patches_have_the_label_of_most_of_their_pixels() -> None:
    mask = np.zeros((6, 8), np.uint8)
    mask[:3, :3] = 4  # 9 of the 12 pixels of the first patch
    mask[3:, 4:] = 255
    mask[3:, :2] = 7  # half of the third: a tie with the ground
    assert patch_labels(mask, (2, 2)).tolist() == [4, 0, 0, 255]
    assert patch_labels(mask, (1, 1)).tolist() == [0]
    assert patch_labels(np.full((5, 7), 3, np.uint8), (2, 3)).tolist() == [3] * 6


def test_even_attention_keeps_nothing() -> None:
    found = scores(np.full((8, 8), 0.1), [0, 0, 1, 0, 2, 0, 0, 0])
    assert found == pytest.approx(
        dict(
            objects=25,
            object_to_object=25,
            object_to_own_class=12.5,
            ground_to_object=25,
            left_by_take=0,
            left_by_give=0,
        )
    )


def test_attention_within_its_own_region_keeps_everything() -> None:
    labels = np.array([0, 3, 3, 0, 0])
    found = scores((labels[:, None] == labels) / 4, labels.tolist())
    assert found['object_to_object'] == found['object_to_own_class'] == 100
    assert (found['ground_to_object'], found['left_by_take']) == (0, 100)
    assert found['left_by_give'] == 100


def test_the_two_directions() -> None:
    """Everyone attends to the object, and the object to itself and a little around."""
    affinity = np.array([[0.0, 1.0, 0.0], [0.25, 0.5, 0.25], [0.0, 1.0, 0.0]])
    found = scores(affinity, [0, 1, 0])
    assert found['object_to_object'] == 50 and found['ground_to_object'] == 100
    assert found['left_by_take'] == -100, 'the ground has twice what the object has'
    assert found['left_by_give'] == 50, 'the object 0.5, the ground 0.25'
    turned = scores(affinity.T, [0, 1, 0])
    assert turned['left_by_take'] == 50 and turned['left_by_give'] == -100


def test_what_is_ignored_counts_nowhere() -> None:
    affinity = np.array([[0.5, 0.5, 9.0], [0.2, 0.8, 9.0], [9.0, 9.0, 9.0]])
    assert scores(affinity, [0, 1, 255]) == scores(affinity[:2, :2], [0, 1])


def test_images_without_contrast_are_left_out() -> None:
    affinity = np.random.default_rng(0).random((3, 3))
    parts = [AffinityContrast() for _ in range(2)]
    for labels in ([0, 0, 0], [2, 2, 2], [255, 255, 1]):
        parts[0].update(affinity, np.array(labels))
    with pytest.raises(DataError, match='no image shows both an object and the ground'):
        parts[0].compute()
    parts[1].update(affinity, np.array([0, 1, 1]))
    parts[0].merge(parts[1])
    assert len(parts[0]) == 1
    assert parts[0].compute().to_dict() == scores(affinity, [0, 1, 1])


def test_mistakes() -> None:
    with pytest.raises(DataError, match=r'must be \(3, 3\), not \(4, 4\)'):
        scores(np.ones((4, 4)), [0, 1, 1])
    with pytest.raises(DataError, match='negative in places'):
        scores(np.eye(3) - 0.1, [0, 1, 1])
