#!/usr/bin/env python
"""Draws the README's picture of a real photo: maps of three seed heads, and a mask.

python docs/make_real_picture.py cat.png work_dirs/voc_animals/pipeline docs/images/cat.png

The photo is scikit-image's Chelsea (CC0): skimage.data.chelsea(). The models are those of
configs/voc_animals/pipeline.py; the maps are of the classifier that comes with the package.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
import torch

matplotlib.use('Agg')
import matplotlib.pyplot as plt
from mmseg.models.segmentors import BaseSegmentor

from wsss_plugins.cli import run_tool
from wsss_plugins.datasets import read_image
from wsss_plugins.explain import explain
from wsss_plugins.refiners import DenseCRF
from wsss_plugins.stages import PredictStage, load_trained
from wsss_plugins.structures import Seed, atomic_path, voc_palette
from wsss_plugins.structures.pictures import heat_picture

HEADS = {
    'CAM': dict(type='CAM'),
    'ACR gradient map': dict(type='ACRGradientMap', start_block=-2, affinity=False),
    'transformer attribution': dict(type='TransformerAttribution'),
}


def main() -> None:
    """Reads the command and draws."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('photo', type=Path)
    parser.add_argument('work_dir', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('--model', default='voc_animals')
    parser.add_argument('--category', default='cat', help='whose maps are drawn')
    run_tool(parser, draw)


def draw(args: argparse.Namespace) -> None:
    """Draws the photo, the maps of three seed heads, and the mask of the segmentor."""
    photo = read_image(args.photo)
    pictures: dict[str, object] = {'photo': photo}
    for title, method in HEADS.items():
        found = explain(args.model, args.photo, method=method, classes=[args.category])
        scores = torch.from_numpy(found.maps).clamp(min=0)
        seed = Seed(scores, torch.tensor([0])).normalised()
        pictures[title] = heat_picture(photo, seed.scores[0].numpy())
    mask = mask_of(args.work_dir / 'segmentor', photo)
    pictures['mask, from image-level labels'] = over(photo, mask)
    figure, axes = plt.subplots(1, len(pictures), figsize=(13, 2.05))
    for axis, (title, picture) in zip(axes, pictures.items(), strict=True):
        axis.imshow(picture)
        axis.set_title(title, fontsize=10)
        axis.axis('off')
    figure.tight_layout(pad=0.3)
    with atomic_path(args.out) as part:
        figure.savefig(part, dpi=90, bbox_inches='tight', pad_inches=0.03)


def over(photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The photo with the colours of a label map over it; the background stays clear."""
    colours = voc_palette()[mask].astype(np.float32)
    seen = (mask > 0)[..., None]
    return np.where(seen, 0.4 * photo + 0.6 * colours, photo).astype(np.uint8)


def mask_of(folder: Path, photo: np.ndarray) -> np.ndarray:
    """Label map ``(H, W)`` of a photo by the segmentor and a dense CRF."""
    model = load_trained(folder, BaseSegmentor)
    stage = PredictStage('mask', 'segmentor', dict(), max_side=448)
    image = torch.from_numpy(photo).permute(2, 0, 1)
    shares = stage.probabilities(model, image)
    kept = torch.arange(len(shares) - 1)
    seed = DenseCRF('deeplab')(image, Seed(shares[1:], kept, shares[0]))
    return seed.to_label().numpy()


if __name__ == '__main__':
    main()
