"""Feature maps of any network of timm, computed from photos or read where they are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from wsss_plugins.backbones.package_weights import PREFIX, timm_names
from wsss_plugins.backbones.timm_weights import create_timm_model
from wsss_plugins.backbones.weights import LoadReport, load_weights, read_weights
from wsss_plugins.errors import CheckpointError, ConfigError, DataError, near_names
from wsss_plugins.registry import MODELS
from wsss_plugins.structures.features import FeatureStore, digest_of
from wsss_plugins.structures.views import resized


@MODELS.register_module()
class TimmMaps(BaseModule):
    """Feature maps of a network of timm, finest first; a frozen one can read kept features.

    The network takes RGB in 0..255 and normalises it itself, so that the model around it
    has the preprocessing ``mean=(0.0,), std=(1.0,)``. In place of pixels ``(N, 3, H, W)``
    it takes *packed* features ``(N, C, h, w)``, which :meth:`pack` made of its maps and a
    :class:`~wsss_plugins.stages.FeatureStage` keeps: a training on those never runs the
    network. Sides that are no multiples of :attr:`multiple` are resized to the next one.

    Args:
        name: A model of timm, such as ``'tf_efficientnet_lite0'``, ``'resnet50'`` or
            ``'vit_small_patch14_dinov2'`` (with ``dynamic_img_size=True``).
        indices: Which of timm's maps to return; -1 is the last. For a vision transformer
            these are the blocks.
        final: Whether to add the map that timm's own head reads: after the last
            convolution of an EfficientNet (1,280 channels), after the last norm of a ViT.
        pretrained: True for timm's weights of that name, a path for a file of them, or
            ``'package:NAME'`` for an installed Python package with one file of weights.
        frozen: Whether the network keeps its weights and the statistics of its norms.
        mean: RGB mean, in 0..255; by default that of timm's weights.
        std: RGB standard deviation; by default that of timm's weights.
        init_cfg: mmengine's.
        arch: Keyword arguments of timm's model.

    Attributes:
        channels: Channels of each map, finest first.
        strides: Pixels per cell of each map.
        multiple: Largest stride; sides of images are multiples of it.
        report: What was loaded, where weights were given.
        hits: Number of images whose kept features were read, since the model was built
            or :meth:`reading` was entered.
        misses: Number of images that the network computed, since then.

    Raises:
        ConfigError: timm has no such model, or the model has no such map.
        CheckpointError: The weights cannot be read, or lack a tensor of the network.
    """

    def __init__(
        self,
        name: str,
        indices: Sequence[int] = (-1,),
        final: bool = False,
        pretrained: bool | str | None = False,
        frozen: bool = True,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        init_cfg: dict[str, Any] | None = None,
        **arch: Any,
    ) -> None:
        super().__init__(init_cfg)
        self.net = _network(name, pretrained is True, arch)
        self.indices, self.final, self.frozen = tuple(indices), final, frozen
        self.channels, self.strides = self._maps_of(name)
        self.multiple = max(self.strides)
        known = self.net.pretrained_cfg
        self.register_buffer('mean', _colour(mean, known['mean']))
        self.register_buffer('std', _colour(std, known['std']))
        self.report: LoadReport | None = None
        if isinstance(pretrained, str):
            self.report = self._load(pretrained)
        self.brought = frozen and str(pretrained).startswith(PREFIX)
        self._store: FeatureStore | None = None
        self.hits = self.misses = 0
        self.train()

    @property
    def packed_channels(self) -> int:
        """Channels of packed features: every map at the largest stride."""
        pairs = zip(self.channels, self.strides, strict=True)
        return sum(many * (self.multiple // stride) ** 2 for many, stride in pairs)

    def is_packed(self, images: Tensor) -> bool:
        """Whether ``images`` are packed features rather than pixels."""
        return images.shape[1] != 3 and images.shape[1] == self.packed_channels

    def pixels(self, images: Tensor) -> tuple[int, int]:
        """``(H, W)`` in pixels of images, or of those that packed features are of."""
        rows, columns = images.shape[-2], images.shape[-1]
        if self.is_packed(images):
            return rows * self.multiple, columns * self.multiple
        return rows, columns

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps ``(N, C, h, w)``, finest first.

        Args:
            images: ``(N, 3, H, W)`` RGB in 0..255, or packed features.

        Raises:
            DataError: ``images`` has another number of channels.
        """
        if self.is_packed(images):
            self.hits += len(images)
            return self.unpack(images)
        if images.shape[1] != 3:
            raise DataError(
                f'{type(self).__name__} takes pixels (3 channels) or the features that it '
                f'packed ({self.packed_channels} channels), not {images.shape[1]} '
                'channels: let the FeatureStage have the same network'
            )
        images = self._to_multiple(images)
        if not self.frozen or images.requires_grad:
            return self._compute(images)
        with torch.no_grad():
            if self._store is None:
                return self._compute(images)
            return self.unpack(self._read_or_compute(images, self._store))

    def pack(self, maps: Sequence[Tensor]) -> Tensor:
        """One tensor ``(N, C, h, w)`` of all maps, without loss.

        Cells of finer maps become channels of the coarsest grid, so that a crop of whole
        cells crops all maps alike.

        Args:
            maps: Output of :meth:`forward`.
        """
        pairs = zip(maps, self.strides, strict=True)
        return torch.cat(
            [F.pixel_unshuffle(m, self.multiple // s) for m, s in pairs], 1
        )

    def unpack(self, packed: Tensor) -> tuple[Tensor, ...]:
        """The maps that :meth:`pack` made ``packed`` of."""
        factors = [self.multiple // stride for stride in self.strides]
        pairs = zip(self.channels, factors, strict=True)
        parts = packed.split([many * factor**2 for many, factor in pairs], 1)
        return tuple(
            F.pixel_shuffle(part, factor)
            for part, factor in zip(parts, factors, strict=True)
        )

    @contextmanager
    def reading(self, store: FeatureStore) -> Iterator[None]:
        """Reads kept features of images in the block; others are computed as before.

        Args:
            store: Features of this network.

        Raises:
            DataError: The features are of another network or other weights.
        """
        self.check(store)
        self._store, self.hits, self.misses = store, 0, 0
        try:
            yield
        finally:
            self._store = None

    def check(self, store: FeatureStore) -> None:
        """Refuses features of another network.

        Raises:
            DataError: The features are of another network or other weights, or this
                network is trained, so that kept features would not be its own.
        """
        if not self.frozen:
            raise DataError(
                f'features of {store.folder} are of a frozen network, and this one is '
                'trained: set frozen=True, or leave the features out'
            )
        if store.network != self.identity():
            raise DataError(
                f'features of {store.folder} are of another network than this model has '
                '(name, maps, normalisation or weights differ): give the FeatureStage '
                'the network of the model'
            )

    def identity(self) -> str:
        """Digest of everything that the maps follow from: maps, normalisation, weights."""
        facts = (self.indices, self.final, self.mean.tolist(), self.std.tolist())
        found = hashlib.blake2b(repr(facts).encode(), digest_size=16)
        for key, value in self.net.state_dict().items():
            found.update(key.encode())
            found.update(value.detach().cpu().contiguous().numpy().tobytes())
        return found.hexdigest()

    def train(self, mode: bool = True) -> TimmMaps:
        """Sets the mode; a frozen network stays in evaluation mode and gets no gradient."""
        super().train(mode)
        if self.frozen:
            self.net.eval().requires_grad_(False)
        elif self.report is not None:
            for module in self.net.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The weights, without those of a frozen network that a package brings.

        A file of a trained model then holds what was trained: 0.1 MB for a linear layer
        on an EfficientNet-lite0, not 14 MB. The package must be there to load it.
        """
        found = super().state_dict(*args, **kwargs)
        if self.brought:
            prefix = kwargs.get('prefix', '')
            for key in [k for k in found if k.startswith(f'{prefix}net.')]:
                del found[key]
        return found

    def init_weights(self) -> None:
        """Does nothing: mmengine would overwrite the weights that were loaded."""

    def _compute(self, images: Tensor) -> tuple[Tensor, ...]:
        self.misses += len(images)
        scaled = (images - self.mean) / self.std
        net: Any = self.net
        found = net.forward_intermediates(
            scaled,
            indices=list(self.indices) or [-1],  # timm wants one
            intermediates_only=not self.final,
            **({} if self.final else dict(stop_early=True)),
        )
        if not self.final:
            return tuple(found)
        last, maps = found
        if last.ndim == 3:  # the tokens of a ViT
            patch = last[:, net.num_prefix_tokens :].transpose(1, 2)
            rows, columns = (side // self.strides[-1] for side in images.shape[-2:])
            last = patch.unflatten(2, (rows, columns))
        return (*(maps if self.indices else ()), last)

    def _read_or_compute(self, images: Tensor, store: FeatureStore) -> Tensor:
        """Packed features of a batch, from ``store`` where it has them."""
        pixels = images.cpu().numpy()
        kept = [store.of_input(digest_of(each)) for each in pixels]
        self.hits += sum(each is not None for each in kept)
        found = []
        for image, each in zip(images, kept, strict=True):
            if each is None:
                found.append(self.pack(self._compute(image[None])))
            else:
                read = torch.from_numpy(np.array(each, np.float32))
                found.append(read.to(images.device)[None])
        return torch.cat(found)

    def _to_multiple(self, images: Tensor) -> Tensor:
        height, width = (
            max(1, -(-side // self.multiple)) * self.multiple
            for side in images.shape[-2:]
        )
        return resized(images, (height, width))

    def _maps_of(self, name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Channels and strides of the maps.

        Raises:
            ConfigError: The network has no such map, or names them coarsest first.
        """
        info = list(self.net.feature_info)
        wrong = [i for i in self.indices if not -len(info) <= i < len(info)]
        if wrong or not (self.indices or self.final):
            raise ConfigError(
                f"timm's '{name}' has {len(info)} maps: indices must be some of 0 to "
                f'{len(info) - 1} (or negative), not {self.indices}',
                token='indices',
            )
        chosen = [(info[i]['num_chs'], info[i]['reduction']) for i in self.indices]
        if self.final:
            chosen.append((self.net.num_features, info[-1]['reduction']))
        strides = [int(stride) for _, stride in chosen]
        if strides != sorted(strides) or any(max(strides) % s for s in strides):
            raise ConfigError(
                f"maps {self.indices} of timm's '{name}' have the strides {strides}: name "
                'them finest first, each stride a part of the largest',
                token='indices',
            )
        return tuple(int(many) for many, _ in chosen), tuple(strides)

    def _load(self, given: str) -> LoadReport:
        weights = timm_names(read_weights(given), self.net)
        report = load_weights(self.net, weights, given, strict=False)
        lost = [*report.missing, *report.other_shape]
        if lost:
            raise CheckpointError(
                f"weights '{given}' are of another network: {len(lost)} tensors are "
                f'missing or of another shape, such as {lost[0]}; name the network that '
                'they belong to'
            )
        print_log(f'{given}: {report}', logger='current')
        return report


@contextmanager
def reading_features(model: nn.Module, store: FeatureStore | None) -> Iterator[None]:
    """Lets the frozen :class:`TimmMaps` of a model read kept features in the block.

    Args:
        model: A model with a :class:`TimmMaps` somewhere in it.
        store: The features; None changes nothing.

    Raises:
        ConfigError: The model has no :class:`TimmMaps`.
        DataError: The features are of another network.
    """
    if store is None:
        yield
        return
    with maps_of(model).reading(store):
        yield


def maps_of(model: nn.Module) -> TimmMaps:
    """The :class:`TimmMaps` of a model; of equal ones, as in a momentum branch, the first.

    Raises:
        ConfigError: The model has none, or several that differ.
    """
    found = [module for module in model.modules() if isinstance(module, TimmMaps)]
    if not found or not all(_equal(found[0].net, other.net) for other in found[1:]):
        raise ConfigError(
            f'features can stand for one TimmMaps in a model, and this '
            f'{type(model).__name__} has {len(found)}: leave features out of the stage',
            token='features',
        )
    return found[0]


def _equal(net: nn.Module, other: nn.Module) -> bool:
    """Whether two networks have the same tensors, parameters or not."""
    one, two = net.state_dict(), other.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def _network(name: str, pretrained: bool, arch: dict[str, Any]) -> Any:
    """A model of timm without its classifier.

    Raises:
        ConfigError: timm has no such model, or it does not return its maps.
    """
    if name.split('.')[0] not in timm.list_models():
        allowed = near_names(name, timm.list_models())
        raise ConfigError(f"timm has no model '{name}': {allowed}", token=name)
    net = create_timm_model(name, pretrained, **{'num_classes': 0, **arch})
    if not hasattr(net, 'forward_intermediates'):
        raise ConfigError(
            f"timm's '{name}' does not return the maps between its layers: name another "
            'model, such as tf_efficientnet_lite0 or resnet50',
            token=name,
        )
    return net


def _colour(given: Sequence[float] | None, of_timm: Sequence[float]) -> Tensor:
    """Three numbers in 0..255 as ``(3, 1, 1)``."""
    colour = [255 * value for value in of_timm] if given is None else list(given)
    return torch.tensor(colour, dtype=torch.float32).reshape(3, 1, 1)
