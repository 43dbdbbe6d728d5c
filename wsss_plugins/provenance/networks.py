"""Finds the initial weights of networks, and the annotations networks are trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wsss_plugins.backbones.named_weights import (
    declared_supervision,
    named_weights,
    supervision_of_file,
    supervision_of_source,
    weights_of_timm,
)
from wsss_plugins.backbones.weights import weights_file
from wsss_plugins.config import plain
from wsss_plugins.datasets.configs import bare_config, first_dataset
from wsss_plugins.provenance.files import card_of_folder, card_of_weights
from wsss_plugins.provenance.images import ImageRegister
from wsss_plugins.structures.card import (
    KnownBy,
    Learnt,
    Network,
    Said,
    Supervision,
    SupervisionCard,
    Taught,
    history,
)


@dataclass(frozen=True)
class InitialWeights:
    """The initial weights of one part of a model."""

    part: str  # dotted name of the part, such as 'backbone'
    source: str  # name of a model of timm, or of a file
    supervision: Supervision  # annotations that the weights were trained on
    known_by: Said[KnownBy]  # source of that knowledge
    card: SupervisionCard | None = None  # card of the file


def initial_weights(cfg: Mapping[str, Any]) -> list[InitialWeights]:
    """Lists the initial weights that a training config names, for each part of the model.

    The supervision of each is taken from the card of the file, or from the name of the
    timm model; only if neither is known, from the text that the config declares under
    ``pretrained_supervision``. Otherwise it is unknown.

    Raises:
        ConfigError: The declared text is no known kind of supervision.
    """
    said, found = declared_supervision(cfg), []
    for part, given, name in named_weights(cfg):
        declared, card = said.get(part, said.get('')), None
        learnt: Supervision = frozenset()
        if given is True:
            weights, learnt = weights_of_timm(str(name))
            source, known_by = f'{weights} (timm)', KnownBy.TIMM()
        elif learnt := supervision_of_source(str(given)):
            source, known_by = str(given), KnownBy.SOURCE()
        else:
            path = weights_file(str(given))
            source, known_by = path.name, KnownBy.CARD(path.name)
            card = card_of_weights(path)
            if card:
                earlier = learnt.union(*(n.supervision for n in card.networks))
                learnt = supervision_of_file(path) or earlier
        if not learnt and not card:
            known_by = KnownBy.DECLARED() if declared else KnownBy.NOT_DECLARED()
            learnt = declared or frozenset([Taught.UNKNOWN(f'{source}, not declared')])
        found.append(InitialWeights(part, source, learnt, known_by, card))
    return found


def begun_network(
    stage: str, cfg: Mapping[str, Any], backbone: str | None = None
) -> tuple[Network, dict[str, SupervisionCard]]:
    """The card entry of a network of a stage before its training.

    ``cfg`` is a training config, of which only model and weights are read; ``backbone`` is
    the stage whose trained weights initialise the backbone.

    Returns:
        The entry, and the cards of the files of initial weights, by part of the model.
    """
    found = initial_weights(cfg)
    if backbone:
        found = [each for each in found if each.part.split('.')[0] != 'backbone']
    sources = [f'backbone of {backbone}'] * bool(backbone) + [e.source for e in found]
    taught = frozenset(kind for each in found for kind in each.supervision)
    known_by = tuple(dict.fromkeys(each.known_by for each in found))
    network = Network(
        stage=stage,
        model=str(plain((cfg.get('model') or {}).get('type'))).rsplit('.', 1)[-1],
        weights=', '.join(dict.fromkeys(sources)) or 'from scratch',
        supervision=taught if taught or backbone else frozenset([Taught.NOTHING()]),
        known_by=known_by or (KnownBy.NOTHING(),),
        learnt_from=Learnt.NOTHING(),
        begins_with=backbone or '',
    )
    return network, {e.part: history(e.card) for e in found if e.card is not None}


def trained(
    networks: Sequence[Network], training: Mapping[str, Any], images: ImageRegister
) -> tuple[tuple[Network, ...], dict[str, SupervisionCard]]:
    """Adds to declared entries of networks what the config of their training data shows.

    Returns:
        The entries, with the training images and annotations; and the card of the label
        maps that the networks are trained on, if their folder has one.
    """
    node, seen, card = first_dataset(training), Learnt.TAGS(), None
    split = images.find([node], set()).split if node is not None else None
    told = {n.learnt_from.kind for n in networks}
    if node is None:
        seen = Learnt.UNKNOWN('no data set of this package')
    elif node.get('label_maps') is not None and told - {Learnt.LABEL_MAPS}:
        dataset = images.build(bare_config(node))
        maps = dataset.label_map_folder or Path()
        stage = maps.resolve().parent
        if {*maps.parts, *maps.resolve().parts} & {*dataset.ground_truth_folders}:
            seen = Learnt.PIXELS()
        elif card := card_of_folder(stage):
            seen = Learnt.LABEL_MAPS(stage.name)
        else:
            seen = Learnt.UNKNOWN('label maps made elsewhere')
    elif split is not None and split.tags == 'masks':
        seen = Learnt.TAGS_FROM_MASKS()
    # What is observed says more; label maps also train a model that reads no tags.
    less = (Learnt.TAGS(), Learnt.IMAGES()) if card else (Learnt.TAGS(),)
    own = [replace(n, split=split) for n in networks]
    own = [replace(n, learnt_from=seen) if n.learnt_from in less else n for n in own]
    return tuple(own), {'label maps': history(card)} if card else {}
