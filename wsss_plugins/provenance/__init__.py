"""Supervision cards: how every number was made, found out while the stages run."""

from wsss_plugins.provenance.files import save_metrics, sign, weights_metadata
from wsss_plugins.provenance.initial import (
    InitialWeights,
    card_of_folder,
    card_of_weights,
    initial_weights,
)
from wsss_plugins.provenance.maker import CardMaker, Ran, card_of_input, unknown_card
from wsss_plugins.provenance.testing import OneView, card_of_test

__all__ = [
    'CardMaker',
    'InitialWeights',
    'OneView',
    'Ran',
    'card_of_folder',
    'card_of_input',
    'card_of_test',
    'card_of_weights',
    'initial_weights',
    'save_metrics',
    'sign',
    'unknown_card',
    'weights_metadata',
]
