"""Examines data sets and the environment and says in plain words what is wrong.

Importing this package loads neither torch nor OpenMMLab, so that it can speak when those
are broken; :func:`wsss_plugins.doctor.examine` imports what it needs.
"""

from wsss_plugins.doctor.examine import Examination, examine
from wsss_plugins.doctor.findings import Finding, Findings

__all__ = ['Examination', 'Finding', 'Findings', 'examine']
