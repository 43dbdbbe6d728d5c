"""Table 4 of ACR on the synthetic set from the pretrained start: what each consistency adds.

The rows of synthetic_modules_pipeline.py; every training begins with the weights that are
shipped as pretrained='synthetic'.
"""

from mmengine.config import read_base

with read_base():
    from .synthetic_modules_pipeline import datasets, pipeline
trainings = dict(classifier='synthetic_pretrained.py')
