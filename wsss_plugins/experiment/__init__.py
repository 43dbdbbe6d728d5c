"""Experiments: the pipeline, its trial before any work, and the matrix."""

from wsss_plugins.experiment.pipeline import Pipeline

__all__ = ['Pipeline']
