"""ImageNet and ImageNet-Segmentation in miniature, in the layouts of the real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import timm
import torch
from safetensors.torch import save_file
from scipy.io import savemat
from trees import SIZE, half_mask, save_image

TENCH, GOLDFISH, SHARK = 'n01440764', 'n01443537', 'n01484850'
"""The first three of the 1,000 classes."""

DEVKIT_IDS = {GOLDFISH: 1, SHARK: 2, TENCH: 3}
"""As in the development kit, their order is not that of the WordNet ids."""


TINY_VIT = dict(img_size=32, depth=4, embed_dim=24, num_heads=2)


def save_tiny_vit(path: Path, num_classes: int = 20) -> dict[str, Any]:
    """Random weights in a file, and the config of the classifier that reads them."""
    torch.manual_seed(0)
    name = 'vit_tiny_patch16_224'
    vit = timm.create_model(name, num_classes=num_classes, **TINY_VIT)
    for weight in vit.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.3)  # so that images differ in class
    save_file(vit.state_dict(), path)
    return dict(type='TimmClassifier', name=name, pretrained=str(path), **TINY_VIT)


def make_imagenet(root: Path, images: dict[str, str], split: str = 'val') -> Path:
    """A split as a folder of classes, of ``{id: WordNet id}``."""
    for i, (name, wnid) in enumerate(images.items()):
        save_image(root / split / wnid / f'{name}.JPEG', i)
    return root


def make_flat_imagenet(root: Path, wnids: list[str]) -> Path:
    """``val`` as the archive has it, with the development kit; images count from 1."""
    for i in range(len(wnids)):
        save_image(root / f'val/ILSVRC2012_val_{i + 1:08}.JPEG', i)
    make_devkit(root / 'ILSVRC2012_devkit_t12/data', wnids)
    return root


def make_devkit(folder: Path, wnids: list[str]) -> None:
    """The ground truth, a number a line, and the table that says what they mean."""
    folder.mkdir(parents=True)
    lines = ''.join(f'{DEVKIT_IDS[wnid]}\n' for wnid in wnids)
    (folder / 'ILSVRC2012_validation_ground_truth.txt').write_text(lines)
    kinds = [(n, object) for n in ('WNID', 'words')] + [('ILSVRC2012_ID', float)]
    # After the classes come the synsets above them, such as 'fish'.
    rows = [(wnid, 'a name', number) for wnid, number in DEVKIT_IDS.items()]
    rows.append(('n02512053', 'fish', 1001))
    savemat(folder / 'meta.mat', dict(synsets=np.array(rows, dtype=kinds)[:, None]))


def make_imagenet_seg(
    path: Path,
    targets: dict[str, str],
    masks: dict[str, np.ndarray] | None = None,
    size: tuple[int, int] = SIZE,
) -> dict[str, np.ndarray]:
    """``gtsegs_ijcv.mat`` of ``{id: WordNet id}``; returns the images by id.

    MATLAB writes arrays column by column, so that HDF5 sees their axes reversed, and
    keeps the cells of a struct array in the group ``#refs#``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    images = {}
    with h5py.File(path, 'w', userblock_size=512) as file:
        cells = _Cells(file.create_group('#refs#'))
        columns: dict[str, list[h5py.Reference]] = {}
        for seed, (name, wnid) in enumerate(targets.items()):
            image = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
            mask = (masks or {}).get(name, half_mask(1, size) == 1)
            inner = cells.add(mask.T.astype(np.uint8), 'uint8')
            images[name] = image
            row = dict(
                img=cells.add(image.transpose(2, 1, 0), 'uint8'),
                gt=cells.add(np.array([[inner]], h5py.ref_dtype), 'cell'),
                id=cells.add(_characters(name), 'char'),
                target=cells.add(_characters(wnid), 'char'),
            )
            for field, reference in row.items():
                columns.setdefault(field, []).append(reference)
        value = file.create_group('value')
        value.attrs['MATLAB_class'] = np.bytes_('struct')
        for field, references in columns.items():
            value[field] = np.array(references, h5py.ref_dtype)[:, None]
    return images


class _Cells:
    """Adds arrays to ``#refs#`` under names of their own."""

    def __init__(self, group: h5py.Group) -> None:
        self.group = group

    def add(self, array: np.ndarray, kind: str) -> Any:
        cell = self.group.create_dataset(f'c{len(self.group)}', data=array)
        cell.attrs['MATLAB_class'] = np.bytes_(kind)
        return cell.ref


def _characters(text: str) -> np.ndarray:
    return np.array([[ord(letter)] for letter in text], np.uint16)
