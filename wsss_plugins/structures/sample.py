"""The image-level labels and predicted scores of one image."""

from __future__ import annotations

from mmengine.structures import BaseDataElement
from torch import Tensor


class ClassSample(BaseDataElement):
    """Input labels and output scores of a classifier for one image, without pixels.

    The metainfo names the image: ``img_id``, ``img_path``, and as ``(H, W)``
    ``ori_shape`` (of the file) and ``img_shape`` (of the input to the model).

    Attributes:
        gt_label: ``(C,)`` float32 in {0, 1}, the image-level labels; background
            is not a class.
        pred_score: ``(C,)`` float32 in [0, 1], set by the classifier's prediction.
    """

    gt_label: Tensor
    pred_score: Tensor
