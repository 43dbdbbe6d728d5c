"""One epoch of a tiny classifier, to try layouts of data with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

BACKBONE = dict(
    type='TimmViT', img_size=16, patch_size=8, embed_dim=8, depth=1, num_heads=2
)


def one_epoch(
    train: Mapping[str, Any], val: Mapping[str, Any], num_classes: int
) -> Config:
    """One epoch on a data set, and the validation on another.

    Args:
        train: Config of the data set to train on, without a pipeline.
        val: Config of the data set to measure on, without a pipeline.
        num_classes: Number of classes, without background.
    """
    steps = [dict(type='LoadCrop', size=16), dict(type='PackClassInputs')]
    loader: dict[str, Any] = dict(batch_size=2, num_workers=0)
    head = dict(type='TokenHead', num_classes=num_classes)
    optimiser = dict(type='SGD', lr=0.01)
    return Config(
        dict(
            model=dict(type='WSSSClassifier', backbone=BACKBONE, head=head),
            train_dataloader=dict(
                loader,
                sampler=dict(type='DefaultSampler', shuffle=True),
                dataset=dict(train, pipeline=steps),
            ),
            val_dataloader=dict(
                loader,
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dict(val, pipeline=steps, test_mode=True),
            ),
            val_evaluator=dict(type='MultiLabelAP'),
            val_cfg=dict(),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(type='OptimWrapper', optimizer=optimiser),
        )
    )
