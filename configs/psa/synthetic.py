"""Classifier of the PSA pipeline on the synthetic data set, from scratch."""

from mmengine.config import read_base

with read_base():
    from .._base_.synthetic_classifier import *
