"""The entry of a card for one network: its initial weights and its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from wsss_plugins.config import find_type, plain
from wsss_plugins.datasets.configs import bare_config, first_dataset
from wsss_plugins.errors import ConfigError
from wsss_plugins.provenance.files import card_of_folder
from wsss_plugins.provenance.images import ImageRegister
from wsss_plugins.provenance.initial import initial_weights
from wsss_plugins.structures.card import SupervisionCard, history
from wsss_plugins.structures.card_parts import (
    KnownBy,
    Learnt,
    Network,
    Said,
    TagSource,
    Taught,
)


def begun_network(
    stage: str, cfg: Mapping[str, Any], backbone: str | None = None
) -> tuple[Network, dict[str, SupervisionCard]]:
    """The card entry of a network before its training.

    Args:
        stage: Name of the stage that trains or imports the network.
        cfg: A training config; only its model and weights are read.
        backbone: Name of the stage whose trained weights initialise the backbone.

    Returns:
        The entry, and the cards of the files of initial weights, by part of the model.
    """
    found = initial_weights(cfg)
    if backbone:
        found = [each for each in found if each.part.split('.')[0] != 'backbone']
    texts = [f'backbone of {backbone}'] if backbone else []
    texts += [each.source for each in found]
    taught = frozenset(kind for each in found for kind in each.supervision)
    network = Network(
        stage=stage,
        model=str(plain((cfg.get('model') or {}).get('type'))).rsplit('.', 1)[-1],
        weights=', '.join(dict.fromkeys(texts)) or 'from scratch',
        supervision=taught if taught or backbone else frozenset([Taught.NOTHING()]),
        known_by=tuple(dict.fromkeys(e.known_by for e in found))
        or (KnownBy.NOTHING(),),
        learnt_from=Learnt.NOTHING(),
        begins_with=backbone or '',
    )
    return network, {e.part: history(e.card) for e in found if e.card is not None}


def supervision_of_training(
    cfg: Mapping[str, Any], label_maps: str | None = None
) -> Said[Learnt]:
    """The annotations that a model is trained on, as far as its config alone tells.

    Args:
        cfg: A training config.
        label_maps: Name of the stage whose label maps it is trained on; None for none.
    """
    if label_maps:
        return Learnt.LABEL_MAPS(label_maps)
    try:
        kind = find_type((cfg.get('model') or {}).get('type'))
    except ConfigError:
        return Learnt.TAGS()
    reads_labels = getattr(kind, 'learns_from_labels', True)
    return Learnt.TAGS() if reads_labels else Learnt.IMAGES()


def trained(
    networks: Sequence[Network], training: Mapping[str, Any], images: ImageRegister
) -> tuple[tuple[Network, ...], dict[str, SupervisionCard]]:
    """Adds to the entries of networks what the config of their training data shows.

    Args:
        networks: Entries that the stage declares.
        training: Config of the training data.
        images: Data sets that were read already.

    Returns:
        The entries, with the training images and annotations; and the card of the label
        maps that the networks are trained on, if their folder has one.
    """
    node = first_dataset(training)
    split = images.find(node, set()).split if node is not None else None
    learnt, card = Learnt.TAGS(), None
    if node is None:
        learnt = Learnt.UNKNOWN('no data set of this package')
    elif node.get('label_maps') is not None and not all(
        n.learnt_from.kind is Learnt.LABEL_MAPS for n in networks
    ):
        learnt, card = _of_label_maps(node, images)
    elif split is not None and split.tags is TagSource.MASKS:
        learnt = Learnt.TAGS_FROM_MASKS()
    found = tuple(
        replace(n, split=split, learnt_from=_seen(n.learnt_from, learnt, card))
        for n in networks
    )
    return found, {} if card is None else {'label maps': history(card)}


def _seen(
    told: Said[Learnt], seen: Said[Learnt], maps: SupervisionCard | None
) -> Said[Learnt]:
    """The annotations a network was trained on: the observed ones, if these say more.

    A model that reads no image-level labels may still be trained on label maps.
    """
    if told == Learnt.TAGS() or (told == Learnt.IMAGES() and maps is not None):
        return seen
    return told


def _of_label_maps(
    node: Mapping[str, Any], images: ImageRegister
) -> tuple[Said[Learnt], SupervisionCard | None]:
    """The origin of the label maps of a data set, and their card if they have one."""
    dataset = images.build(bare_config(node))
    folder = dataset.label_map_folder
    assert folder is not None
    parts = {*folder.parts, *folder.resolve().parts}
    if not parts.isdisjoint(dataset.ground_truth_folders):
        return Learnt.PIXELS(), None
    card = card_of_folder(folder.resolve().parent)
    if card is None:
        return Learnt.UNKNOWN('label maps made elsewhere'), None
    return Learnt.LABEL_MAPS(folder.resolve().parent.name), card
