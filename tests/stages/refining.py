"""A small folder of photos and seeds, and the stage that refines them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from trees import save_image

from wsss_plugins.errors import DataError
from wsss_plugins.refiners import Refiner
from wsss_plugins.stages import RefineStage
from wsss_plugins.stages.images import as_image
from wsss_plugins.structures import Seed
from wsss_plugins.structures.layout import seed_path

SIZES = [(6, 10), (9, 7), (6, 10), (9, 7), (6, 10)]
IDS = [f'image_{i}' for i in range(len(SIZES))]
CHAIN = [dict(type='ConstantBackground'), dict(type='DenseCRF', iterations=2)]


def write_world(root: Path) -> Path:
    """Five photos of two sizes and their seeds, as a stage 'cam' would leave them."""
    rows = ['file,tags']
    for i, (name, size) in enumerate(zip(IDS, SIZES, strict=True)):
        save_image(root / f'data/images/{name}.png', i, size)
        rows.append(f'{name}.png,cat')
        generator = torch.Generator().manual_seed(i)
        scores = torch.rand(1 + i % 2, *size, generator=generator)
        Seed(scores, torch.arange(1 + i % 2)).save(seed_path(root / 'cam', name))
    (root / 'data/train.csv').write_text('\n'.join(rows))
    return root


def run(world: Path, name: str = 'pseudo', **arguments: Any) -> dict[str, Any]:
    """Runs the stage in ``world``; its metrics."""
    stage = make(world, name, **arguments)
    (world / name).mkdir(exist_ok=True)
    inputs = {each: world / each for each in stage.inputs}
    return stage.run(world / name, inputs)


def make(world: Path, name: str = 'pseudo', **arguments: Any) -> RefineStage:
    """The stage, by default with a dense CRF in this process."""
    dataset = dict(
        type='FolderWSSS',
        data_root=str(world / 'data'),
        split='train',
        classes=('cat', 'dog'),
    )
    given = dict(refiners=CHAIN, workers=1) | arguments
    return RefineStage(name, 'cam', dataset, **given)


def pair(world: Path, name: str) -> tuple[Tensor, Seed]:
    """The photo and the seed of an image."""
    image = as_image(np.array(Image.open(world / f'data/images/{name}.png')))
    return image, Seed.load(seed_path(world / 'cam', name))


def files(folder: Path) -> dict[str, bytes]:
    """The content of every file."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


class Picky(Refiner):
    """Cannot refine what begins with 0."""

    def refine(self, image: Tensor, seed: Seed) -> Seed:
        if seed.scores[0, 0, 0] == 0:
            raise DataError('it begins with 0')
        return seed
