"""Seven photos with masks, and the stages that test explanations on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from trees import make_voc

from wsss_plugins.engine import Stage
from wsss_plugins.registry import STAGES, build_as
from wsss_plugins.seeds import AttentionGradCAM, AttentionRollout, FullLRP
from wsss_plugins.structures import save_label_map

HEADS = dict(rollout=AttentionRollout, grad_cam=AttentionGradCAM, lrp=FullLRP)
METHODS = {title: dict(type=head.__name__) for title, head in HEADS.items()}
OBJECTS = dict(
    a=['cat'], b=['dog', 'cow'], c=['bus'], d=['car'], e=['cat'], f=['sofa'], g=['dog']
)
KINDS = ('SegmentationTestStage', 'PerturbationTestStage')


def write_photos(folder: Path) -> Path:
    """The data root."""
    root = make_voc(folder / 'voc', OBJECTS)
    for i, name in enumerate(OBJECTS):
        # Smooth, so that resizing leaves something of it.
        small = np.random.default_rng(i).integers(0, 256, (3, 4, 3), np.uint8)
        photo = Image.fromarray(small).resize((36, 30), Image.Resampling.BICUBIC)
        photo.save(root / f'JPEGImages/{name}.jpg')
        mask = np.zeros((30, 36), np.uint8)
        mask[5 : 20 + i, 9:30] = 8 if i % 2 else 12  # cat and dog
        mask[:2] = 255
        save_label_map(root / f'SegmentationClass/{name}.png', mask)
    return root


def config(kind: str, root: Path, model: Any, **more: Any) -> dict[str, Any]:
    data = dict(type='VOC12', data_root=str(root), split='train')
    if kind == 'SegmentationTestStage':
        data['label_maps'] = 'SegmentationClass'
    base = dict(name='test', model=model, methods=METHODS, dataset=data)
    return dict(base, type=kind, input_size=(32, 32), batch_size=3) | more


def run(out: Path, *args: Any, **more: Any) -> dict[str, Any]:
    """Runs the stage alone."""
    out.mkdir(exist_ok=True)
    return build_as(STAGES, config(*args, **more), Stage).run(out, {})
