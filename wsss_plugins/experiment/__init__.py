"""Runs experiments: pipelines of stages, checks before a run, and grids of pipelines."""

from wsss_plugins.experiment.pipeline import Pipeline

__all__ = ['Pipeline']
