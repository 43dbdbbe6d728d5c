"""The part of a card that is about one network: what it began with and learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from wsss_plugins.config import find_type, plain
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.errors import ConfigError
from wsss_plugins.provenance.images import ImageRegister, find_dataset
from wsss_plugins.provenance.initial import (
    RANDOM,
    InitialWeights,
    card_of_folder,
    initial_weights,
)
from wsss_plugins.registry import DATASETS, build_as
from wsss_plugins.structures.card import SupervisionCard, history
from wsss_plugins.structures.card_parts import (
    FROM_MASKS,
    IMAGE_LEVEL,
    IMAGES,
    PIXELS,
    UNKNOWN,
    Network,
    kinds,
)


def training_card(
    stage: str,
    cfg: Mapping[str, Any],
    label_maps: str | None = None,
    backbone: str | None = None,
) -> SupervisionCard:
    """What training a network adds to a card.

    Args:
        stage: Name of the stage.
        cfg: The training config.
        label_maps: Stage whose label maps it learns from.
        backbone: Stage whose trained weights its backbone begins with.

    Returns:
        The network, after whatever its files of weights and label maps follow from. It is
        validated on whole images, one view each, without labels.
    """
    network, files = begun_network(stage, cfg, backbone)
    node = find_dataset((cfg.get('train_dataloader') or {}).get('dataset'))
    split = ImageRegister().find(node, set()).split if node is not None else None
    learnt, maps = f'label maps of {label_maps}', None
    if not label_maps:
        learnt, maps = _learnt_from(node)
        if not _reads_labels(cfg) and maps is None:
            learnt = IMAGES
    if learnt == IMAGE_LEVEL and split is not None and split.tags == 'masks':
        learnt += FROM_MASKS
    own = SupervisionCard(
        networks=(replace(network, learnt_from=learnt, split=split),),
        labels='none',
        scales=(1.0,),
        flip=False,
    )
    earlier = {'label maps': history(maps)} if maps is not None else {}
    return own.after(earlier | files)


def begun_network(
    stage: str, cfg: Mapping[str, Any], backbone: str | None = None
) -> tuple[Network, dict[str, SupervisionCard]]:
    """A network before it is trained, and the cards of the files that it begins with.

    Args:
        stage: See :func:`training_card`.
        cfg: Likewise; only its model and weights are looked at.
        backbone: Likewise.
    """
    found = initial_weights(cfg)
    if backbone:
        found = [each for each in found if each.part.split('.')[0] != 'backbone']
    texts = [f'backbone of {backbone}'] if backbone else []
    texts += [each.source for each in found]
    known = [each.known_by for each in found]
    network = Network(
        stage=stage,
        model=_name((cfg.get('model') or {}).get('type')),
        weights=', '.join(dict.fromkeys(texts)) or RANDOM,
        supervision=_supervision(found) or ('' if backbone else 'none'),
        known_by=', '.join(dict.fromkeys(known)) or 'nothing is loaded',
        learnt_from='nothing here',
        begins_with=backbone or '',
    )
    cards = {each.part: each.card for each in found if each.card is not None}
    return network, {part: history(card) for part, card in cards.items()}


def _reads_labels(cfg: Mapping[str, Any]) -> bool:
    """Whether the model of a training config looks at labels; most do."""
    try:
        kind = find_type((cfg.get('model') or {}).get('type'))
    except ConfigError:
        return True
    return bool(getattr(kind, 'learns_from_labels', True))


def _supervision(found: list[InitialWeights]) -> str:
    return ' + '.join(sorted(kinds(each.supervision for each in found)))


def _name(given: Any) -> str:
    return str(plain(given)).rsplit('.', 1)[-1]


def _learnt_from(
    node: Mapping[str, Any] | None,
) -> tuple[str, SupervisionCard | None]:
    """What a training data set shows, and the card of its label maps if they have one."""
    if node is None:
        return f'{UNKNOWN} (no data set of this package)', None
    if node.get('label_maps') is None:
        return IMAGE_LEVEL, None
    bare = {k: v for k, v in node.items() if k != 'pipeline'}
    dataset = build_as(DATASETS, dict(bare, require_images=False), WSSSDataset)
    folder = dataset.label_map_folder
    assert folder is not None
    parts = {*folder.parts, *folder.resolve().parts}
    if not parts.isdisjoint(dataset.ground_truth_folders):
        return PIXELS, None
    card = card_of_folder(folder.resolve().parent)
    if card is None:
        return f'{UNKNOWN} (label maps made elsewhere)', None
    return f'label maps of {folder.resolve().parent.name}', card
