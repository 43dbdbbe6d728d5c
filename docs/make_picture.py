#!/usr/bin/env python
"""Draws the picture of the README from a finished run of the synthetic pipeline.

python docs/make_picture.py work_dirs/acr/synthetic_pipeline docs/images/demo.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt

from wsss_plugins.cli import run_tool
from wsss_plugins.datasets import VOC12
from wsss_plugins.structures import Seed, atomic_path, load_label_map
from wsss_plugins.structures.pictures import (
    heat_picture,
    label_picture,
    photo_picture,
)

DATA = 'data/synthetic/VOC2012'
TRAIN = ('photo', 'ground truth', 'class map', 'pseudo label')
VAL = ('photo', 'ground truth', 'prediction')


def main() -> None:
    """Reads the command and draws."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dir', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('--train', type=int, nargs=3, default=[0, 667, 1333])
    parser.add_argument('--val', type=int, nargs=3, default=[0, 133, 267])
    run_tool(parser, draw)


def draw(args: argparse.Namespace) -> None:
    """Draws training images up to their pseudo labels and val images with predictions."""
    rows = [
        train_row(args.work_dir, train) + val_row(args.work_dir, val)
        for train, val in zip(args.train, args.val, strict=True)
    ]
    figure, axes = plt.subplots(
        len(rows),
        8,
        figsize=(11, 4.6),
        gridspec_kw=dict(width_ratios=[1] * 4 + [0.25] + [1] * 3),
    )
    for row, line in zip(axes, rows, strict=True):
        for axis, picture in zip([*row[:4], *row[5:]], line, strict=True):
            axis.imshow(picture, interpolation='nearest')
        for axis in row:
            axis.axis('off')
    titled = zip([*axes[0][:4], *axes[0][5:]], TRAIN + VAL, strict=True)
    for axis, title in titled:
        axis.set_title(title, fontsize=11)
    figure.text(
        0.30, 0.965, 'training images: image-level labels in', ha='center', fontsize=12
    )
    figure.text(0.77, 0.965, 'val images: no labels in', ha='center', fontsize=12)
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.88, 0.03, 0.03)
    with atomic_path(args.out) as part:
        figure.savefig(part, dpi=110)


def train_row(work_dir: Path, index: int) -> list:
    """Photo, ground truth, map of the first class, pseudo label."""
    data = VOC12(DATA, 'train', label_maps='SegmentationClass', test_mode=True)
    name, photo = data.ids[index], data.load_image(index)
    seed = Seed.load(work_dir / 'cam/seeds' / f'{name}.npz')
    pseudo = load_label_map(work_dir / 'pseudo/labels' / f'{name}.png')
    return [
        photo_picture(photo),
        label_picture(data.load_mask(index)).convert('RGB'),
        heat_picture(photo, seed.scores[0].numpy()),
        label_picture(pseudo).convert('RGB'),
    ]


def val_row(work_dir: Path, index: int) -> list:
    """Photo, ground truth, prediction."""
    data = VOC12(DATA, 'val', label_maps='SegmentationClass', test_mode=True)
    name, photo = data.ids[index], data.load_image(index)
    prediction = load_label_map(work_dir / 'prediction/labels' / f'{name}.png')
    pictures = [
        label_picture(m).convert('RGB') for m in (data.load_mask(index), prediction)
    ]
    return [photo_picture(photo), *pictures]


if __name__ == '__main__':
    main()
