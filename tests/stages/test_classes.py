"""How many classes a training has, and what labels cannot teach."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config
from trees import make_folder

from wsss_plugins.datasets import FolderWSSS
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.stages.classes import fill_num_classes, label_doubts

ROWS = [('a.jpg', 'dog;cat'), ('b.jpg', 'cow'), ('c.jpg', ''), ('d.jpg', 'dog')]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_folder(tmp_path, ROWS)


def config(root: Path | None, **head: object) -> Config:
    data = dict(type='FolderWSSS', data_root=str(root), split='train')
    pipeline = [dict(type='LoadCrop', size=8)]
    return Config(
        dict(
            model=dict(
                type='WSSSClassifier',
                backbone=dict(type='TimmViT', depth=1),
                head=dict(type='TokenHead', **head),
                decode_head=dict(type='FCNHead', num_classes=None),
                auxiliary_head=[dict(type='DeepLabV2Head', num_classes=None)],
            ),
            train_dataloader=dict(
                dataset=dict(data, label_maps='not there yet', pipeline=pipeline)
            ),
        )
    )


def test_classes_are_counted_and_the_background_for_decode_heads(root) -> None:
    cfg = config(root, num_classes=None)
    model = fill_num_classes(cfg).model
    assert model.head.num_classes == 3
    assert model.decode_head.num_classes == 4
    assert model.auxiliary_head[0].num_classes == 4
    assert cfg.model.head.num_classes is None, 'the config given is left alone'


def test_a_number_is_kept(root) -> None:
    cfg = config(root, num_classes=9)
    filled = fill_num_classes(cfg).model
    assert filled.head.num_classes == 9 and filled.decode_head.num_classes == 4
    assert fill_num_classes(Config(dict(model=dict(head=dict(num_classes=2))))).model


def test_nothing_open_is_the_config_itself() -> None:
    cfg = Config(dict(model=dict(type='TokenHead', num_classes=2)))
    assert fill_num_classes(cfg) is cfg


def test_another_loader_will_do(root) -> None:
    cfg = config(root, num_classes=None)
    cfg.val_dataloader = cfg.pop('train_dataloader')
    assert fill_num_classes(cfg).model.head.num_classes == 3


def test_wrapped_data_sets_are_found(root) -> None:
    cfg = config(root, num_classes=None)
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=inner)
    assert fill_num_classes(cfg).model.head.num_classes == 3


def test_no_data_set_to_count(root) -> None:
    cfg = config(root, num_classes=None)
    cfg.pop('train_dataloader')
    with pytest.raises(
        ConfigError, match=r'num_classes=None stands for .* give the number'
    ):
        fill_num_classes(cfg)


# ---- doubts


def doubts(root: Path, *tags: str, **options: object) -> list[str]:
    make_folder(root, [(f'{i}.png', tag) for i, tag in enumerate(tags)])
    return label_doubts(FolderWSSS(root, **options))


def test_good_labels_leave_no_doubt(tmp_path) -> None:
    assert doubts(tmp_path, *['dog'] * 3, *['cat'] * 3, 'dog;cat', '') == []


def test_rare_and_common_and_absent_classes(tmp_path) -> None:
    tags = ['sky;dog', 'sky;dog', 'sky;dog', 'sky;cat', 'sky;cow', 'sky;cow']
    said = doubts(tmp_path, *tags, classes=['sky', 'dog', 'cat', 'cow', 'fish'])
    assert said == [
        'every training image shows sky: add others',
        'no training image shows fish',
        'few training images show cat (1), cow (2): add more',
    ]


@pytest.mark.parametrize(
    ('tags', 'message'),
    [
        (['dog', 'dog'], 'all show dog, .* add images without it'),
        (['dog;cat', 'dog;cat'], 'all show cat, dog, '),
        (['dog'], 'the 1 training images .* all show dog'),
    ],
)
def test_labels_that_teach_nothing_are_refused(tmp_path, tags, message) -> None:
    with pytest.raises(DataError, match=message):
        doubts(tmp_path, *tags)


def test_no_label_at_all(tmp_path) -> None:
    with pytest.raises(DataError, match=r'show no class, .* add images with tags'):
        doubts(tmp_path, '', '', classes=['dog'])
