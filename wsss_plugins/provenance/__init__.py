"""Makes supervision cards, which record how every number was made, while stages run."""

from wsss_plugins.provenance.files import (
    card_of_checkpoint,
    card_of_folder,
    card_of_weights,
    save_metrics,
    weights_metadata,
)
from wsss_plugins.provenance.images import ImageRegister
from wsss_plugins.provenance.initial import InitialWeights, initial_weights
from wsss_plugins.provenance.run import Ran, declared_card, make_card, run_with_card

__all__ = [
    'ImageRegister',
    'InitialWeights',
    'Ran',
    'card_of_checkpoint',
    'card_of_folder',
    'card_of_weights',
    'declared_card',
    'initial_weights',
    'make_card',
    'run_with_card',
    'save_metrics',
    'weights_metadata',
]
