"""A stage that cuts seeds into single objects by a trained IRNet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsss_plugins.affinity import (
    IRNet,
    Transition,
    boundary_affinities,
    cluster_centroids,
    find_centroids,
    fragments,
    instance_maps,
    pad_to_stride,
)
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.engine.failures import one_by_one, without_failed
from wsss_plugins.engine.stage import Stage
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.refiners.random_walk import to_cells, to_pixels
from wsss_plugins.registry import DATASETS, STAGES, build_as
from wsss_plugins.stages.images import as_image
from wsss_plugins.stages.train import load_trained
from wsss_plugins.structures import Instances, Seed
from wsss_plugins.structures.card import Source, Threshold
from wsss_plugins.structures.layout import instances_path, seed_path
from wsss_plugins.structures.measured import Measured


@STAGES.register_module()
class InstanceLabelStage(Stage):
    """Writes ``instances/<id>.npz``, the objects of every image: masks, classes and scores.

    The map of each class is divided among the groups of pixels that point to one centre.
    Each part walks along the affinities of the boundaries; the part that is strongest at a
    pixel, if it is stronger than the background, gets the pixel. Pixels of one part that
    hang together are an object. Its score is the maximum of the part in it, or 0 where the
    object is too small.

    Images whose photo or seed is missing or damaged, or whose sizes differ, are left out;
    the metric ``failed`` is their number. Files that exist are not written again.

    Source: Ahn, Cho and Kwak, "Weakly Supervised Learning of Instance Segmentation with
    Inter-pixel Relations" (IRN), CVPR 2019, section 4.2, with the numbers of its code.

    Args:
        name: Name of the stage.
        seeds: Name of the stage that made the seeds.
        model: Name of the stage that trained the :class:`IRNet`.
        dataset: Config of the images; masks are not read.
        beta: Exponent of the affinities in the walk, > 0.
        log_steps: Number of squarings of the transition matrix, >= 0.
        background: Score of the background, in [0, 1], where the largest score of an image
            is 1.
        small: Length in cells below which a displacement is small, see
            :func:`~wsss_plugins.affinity.cluster_centroids`.
        steps: Steps of the search of centres, >= 0.
        smallest: Share of the image, in [0, 1): a smaller object has score 0.

    Raises:
        ConfigError: A number is out of range.
    """

    needs_every_image = False
    reads_masks = False

    def __init__(
        self,
        name: str,
        seeds: str,
        model: str,
        dataset: dict[str, Any],
        beta: float = 10.0,
        log_steps: int = 8,
        background: float = 0.25,
        small: float = 2.5,
        steps: int = 300,
        smallest: float = 0.01,
    ) -> None:
        super().__init__(name)
        shares = 0 <= background <= 1 and 0 <= smallest < 1
        if not (shares and min(beta, small) > 0 and min(log_steps, steps) >= 0):
            raise ConfigError(
                f"stage '{name}' needs beta and small > 0, log_steps and steps >= 0, "
                'background in [0, 1] and smallest in [0, 1), not '
                f'{beta}, {small}, {log_steps}, {steps}, {background}, {smallest}',
                token=name,
            )
        self.seeds, self.model = seeds, model
        self.inputs = (seeds, model)
        self.dataset = dict(dataset, require_images=False)
        self.beta, self.log_steps, self.background = beta, log_steps, background
        self.small, self.steps, self.smallest = small, steps, smallest

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Cuts the seeds of all images that have no file of objects yet."""
        model = load_trained(inputs[self.model], IRNet)
        cfg = without_failed(self.dataset, inputs[self.seeds])
        dataset = build_as(DATASETS, cfg, WSSSDataset)
        names = dataset.ids

        def cut(index: int) -> None:
            """Cuts the seed of an image into objects, and writes them."""
            image = as_image(dataset.load_image(index))
            path = seed_path(inputs[self.seeds], names[index])
            found = self.instances(model, image, _seed_of(path, image))
            found.save(instances_path(out, names[index]))

        failed = one_by_one(self.name, out, names, instances_path, cut)
        return dict(images=len(names), failed=failed)

    @torch.no_grad()
    def instances(self, model: IRNet, image: Tensor, seed: Seed) -> Instances:
        """The objects of one image.

        Args:
            model: The network, in evaluation mode.
            image: ``(3, H, W)`` uint8 RGB.
            seed: A seed of the same size.
        """
        place = next(model.parameters()).device
        images = model.normalise(image[None].to(place).float())
        strength, field = model.boundaries_and_displacements(
            pad_to_stride(images, model.stride)
        )
        cams = to_cells(seed.normalised().scores.to(place), model.stride)
        return self.cut(
            cams,
            seed.classes,
            strength[0],
            field[0],
            seed.size,
            stride=model.stride,
            radius=model.radius,
        )

    def cut(
        self,
        maps: Tensor,
        classes: Tensor,
        boundaries: Tensor,
        displacement: Tensor,
        size: tuple[int, int],
        stride: int,
        radius: int,
    ) -> Instances:
        """The objects of one image from what a network predicts of it.

        Args:
            maps: ``(K, h, w)`` class maps on the grid of the network.
            classes: ``(K,)`` their class ids.
            boundaries: ``(h, w)`` in [0, 1].
            displacement: ``(2, h, w)`` in cells.
            size: ``(H, W)`` of the image.
            stride: Pixels of the image per cell.
            radius: Radius of the pairs of the walk, in cells.
        """
        field = displacement.cpu().numpy()
        groups = cluster_centroids(find_centroids(field, self.steps), field, self.small)
        parts = instance_maps(maps, torch.from_numpy(groups).to(maps.device))
        kept = parts.flatten(1).any(1)
        owners = torch.arange(len(maps)).repeat_interleave(len(groups))[kept.cpu()]
        if not len(owners):
            empty = np.zeros((0, *size), bool)
            return Instances(empty, np.zeros(0, np.int64), np.zeros(0, np.float32))
        affinities = boundary_affinities(boundaries[None], radius)[0]
        transition = Transition(affinities, radius, self.beta, 'irn')
        walked = transition.walk(parts[kept] * (1 - boundaries), 2**self.log_steps)
        full = to_pixels(walked, stride, size)
        largest = full.max()
        full = full / largest.where(largest > 0, 1)
        ground = torch.full_like(full[:1], self.background)
        winner = torch.cat([ground, full]).argmax(0).cpu().numpy() - 1
        masks = winner == np.arange(len(full))[:, None, None]
        found = fragments(full.cpu().numpy(), masks, self.smallest * winner.size)
        ids = classes.cpu().numpy()[owners.numpy()][found[1]]
        return Instances(found[0], ids.astype(np.int64), found[2].astype(np.float32))

    def measured(self) -> Measured:
        """Declares the images and the fixed score of the background."""
        fixed = Threshold(self.name, Source.FIXED, values=(float(self.background),))
        return Measured(images=self.dataset, thresholds=(fixed,))


def _seed_of(path: Path, image: Tensor) -> Seed:
    """The seed in ``path``.

    Raises:
        DataError: The file holds no seed, or one of another size than ``image``.
    """
    seed = Seed.load(path)
    size = tuple(image.shape[1:])
    if seed.size != size:
        raise DataError(
            f'{path} is {seed.size} (height, width) but its image is {size}: make the seed '
            'again from the same image'
        )
    return seed
