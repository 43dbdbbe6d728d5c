"""The part of a card that is about one network: what it began with and learnt from."""

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
    """A network before it is trained, and the cards of the files that it begins with.

    Args:
        stage: Name of the stage that trains it, or brings it in.
        cfg: A training config; only its model and weights are looked at.
        backbone: Stage whose trained weights its backbone begins with.
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
    """What the model of a training config looks at, as far as the config alone tells.

    Args:
        cfg: A training config.
        label_maps: Stage whose label maps it learns from.
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
    """Networks with what is seen in their training data.

    Args:
        networks: As their stage declares them.
        training: Config of the training data.
        images: The images that are known already.

    Returns:
        The networks; and the card of the label maps that they learn from, if these lie in
        a folder that has one.
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
    """What a network learnt from; one that reads no labels may still read label maps."""
    if told == Learnt.TAGS() or (told == Learnt.IMAGES() and maps is not None):
        return seen
    return told


def _of_label_maps(
    node: Mapping[str, Any], images: ImageRegister
) -> tuple[Said[Learnt], SupervisionCard | None]:
    """What label maps of a folder are, and their card if they have one."""
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
