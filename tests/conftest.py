"""What tests share: the golden arrays, the shared data, and small models."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parent.parent

# As the tools that tests start: sums in another order differ in the last bits.
torch.set_num_threads(1)


# mmengine collects garbage whenever a data set is made. A quarter of a second each time
# went into looking through all that is imported, which never is garbage.
gc.disable()


def pytest_collection_finish() -> None:
    """Garbage is looked for again."""
    gc.enable()


@pytest.fixture(scope='module', autouse=True)
def only_new_garbage() -> None:
    """Within a file garbage is looked for in what its tests make, in nothing older."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope='session', autouse=True)
def own_index(tmp_path_factory) -> None:
    """Hashes of files are kept beside the tests, not in the user's cache."""
    os.environ['WSSS_PLUGINS_CACHE'] = str(tmp_path_factory.mktemp('contents'))


@pytest.fixture(scope='session')
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope='session')
def shared() -> Path:
    """The folder of golden arrays and real photos beside the repository."""
    folder = ROOT.parent / 'shared'
    if not folder.is_dir():
        pytest.skip('../shared is not here')
    return folder


@pytest.fixture(scope='session')
def golden():
    """Reads golden arrays by name: from tests/golden, else from ../shared/golden."""

    def read(name: str) -> dict[str, np.ndarray]:
        places = [ROOT / 'tests/golden']
        folder = ROOT.parent / 'shared/golden'
        places += [folder / part for part in ('wsss', 'lrp', 'modern')]
        for place in places:
            if (place / f'{name}.npz').is_file():
                with np.load(place / f'{name}.npz', allow_pickle=False) as arrays:
                    return {key: arrays[key] for key in arrays.files}
        pytest.skip(
            f'the golden {name}.npz is neither in tests/golden nor in ../shared'
        )

    return read


@pytest.fixture(scope='session')
def made_once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Makes a folder once for all tests of a process.

    Each process of pytest-xdist has its own, since a test may break a file of it until
    the test ends.
    """
    base = tmp_path_factory.getbasetemp()
    made: set[str] = set()

    def folder(name: str, make: Callable[[Path], object]) -> Path:
        out = base / name
        if name not in made:
            out.mkdir()
            make(out)
            made.add(name)
        return out

    return folder


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random state."""
    torch.manual_seed(0)
    np.random.seed(0)


TINY = dict(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3)


@pytest.fixture
def tiny_classifier():
    """Builds a small classifier; ``prefix=2`` gives it a distillation token."""
    from timm.models.deit import VisionTransformerDistilled

    from wsss_plugins.backbones import TimmViT
    from wsss_plugins.classifiers import ACRClassifier, WSSSClassifier

    def build(num_classes: int = 5, prefix: int = 1, acr: bool = False, **kwargs):
        backbone = TimmViT(**TINY)
        if prefix == 2:
            backbone.vit = VisionTransformerDistilled(num_classes=0, **TINY)
            backbone.vit.patch_embed.strict_img_size = False
            backbone.num_prefix = 2
        cls = ACRClassifier if acr else WSSSClassifier
        head = dict(type='TokenHead', num_classes=num_classes)
        return cls(backbone=backbone, head=head, **kwargs)

    return build


@pytest.fixture
def tiny_ex_vit(tiny_classifier):
    """Builds a small eX-ViT with four attributes; ``prefix`` as above."""
    from wsss_plugins.backbones import ExViT
    from wsss_plugins.classifiers import WSSSClassifier

    def build(num_classes: int = 5, prefix: int = 1, patch: str = 'last', **head):
        vit = tiny_classifier(prefix=prefix).backbone.vit
        cfg = dict(type='AttributeHead', num_classes=num_classes, channels=24)
        backbone = ExViT(vit, fuse_blocks=2, patch=patch)
        return WSSSClassifier(backbone=backbone, head=cfg | dict(attributes=4) | head)

    return build


@pytest.fixture
def tiny_mctformer(tiny_classifier):
    """Builds a small MCTformer; with ``prefix=2`` a distillation token ends the prefix."""
    from wsss_plugins.backbones import MultiClassTokenViT
    from wsss_plugins.classifiers import ACRClassifier, WSSSClassifier

    def build(num_classes: int = 5, prefix: int = 1, acr: bool = False, **head):
        vit = tiny_classifier(prefix=prefix).backbone.vit
        backbone = MultiClassTokenViT(vit, num_classes=num_classes)
        torch.nn.init.normal_(backbone.vit.cls_token)  # not as many copies
        cls = ACRClassifier if acr else WSSSClassifier
        cfg = dict(type='MCTHead', num_classes=num_classes)
        return cls(backbone=backbone, head=cfg | head)

    return build
