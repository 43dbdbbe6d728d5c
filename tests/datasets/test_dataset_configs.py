"""Configs of data sets are found at any depth, and left alone."""

from __future__ import annotations

import pytest

from wsss_plugins.datasets import VOC12, LoadImage, TwoViews
from wsss_plugins.datasets.configs import (
    bare_config,
    config_before_training,
    dataset_configs,
    first_dataset,
)
from wsss_plugins.errors import ConfigError

IMAGES = dict(
    type=VOC12, data_root='VOC', split='train', label_maps='pseudo', pipeline=[1]
)


def test_every_data_set_is_found_in_order() -> None:
    other = dict(type='FolderWSSS', data_root='photos')
    node = dict(
        train=dict(dataset=dict(type=TwoViews, dataset=IMAGES)),
        later=[dict(type=LoadImage), other],
    )
    assert list(dataset_configs(node)) == [IMAGES, other]
    assert first_dataset(node) is IMAGES


@pytest.mark.parametrize('node', [None, 3, {}, [dict(type=LoadImage)]])
def test_nothing_of_ours_is_none(node: object) -> None:
    assert first_dataset(node) is None


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(ConfigError, match='VOC21'):
        first_dataset(dict(type='VOC21'))


def test_a_bare_config_has_no_pipeline() -> None:
    before = dict(IMAGES)
    bare = bare_config(IMAGES, 'label_maps', require_images=False, split='val')
    assert bare == dict(type=VOC12, data_root='VOC', split='val', require_images=False)
    assert before == IMAGES


def test_label_maps_to_train_on_are_left_out_and_ground_truth_stays() -> None:
    assert 'label_maps' not in config_before_training(IMAGES)
    truth = config_before_training(dict(IMAGES, test_mode=True))
    assert truth == bare_config(IMAGES, test_mode=True)
