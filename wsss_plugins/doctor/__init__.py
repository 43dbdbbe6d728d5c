"""Examines data sets and the environment, and reports problems with remedies.

Importing this package imports neither torch nor OpenMMLab, so that it can report when
those are broken; :func:`wsss_plugins.doctor.examine` imports what it needs.
"""

from wsss_plugins.doctor.examine import Examination, examine
from wsss_plugins.doctor.findings import Finding, Findings

__all__ = ['Examination', 'Finding', 'Findings', 'examine']
