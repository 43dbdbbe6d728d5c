"""One image on its way through a classifier: its image-level labels and scores."""

from __future__ import annotations

from mmengine.structures import BaseDataElement
from torch import Tensor


class ClassSample(BaseDataElement):
    """What a classifier is given and gives back for one image, without the pixels.

    The metainfo names the image: ``img_id``, ``img_path``, and as ``(H, W)``
    ``ori_shape`` (of the file) and ``img_shape`` (of the input to the model).

    Attributes:
        gt_label: ``(C,)`` float32 in {0, 1}, the image-level labels; background
            is not a class.
        pred_score: ``(C,)`` float32 in [0, 1], set by the classifier's prediction.
    """

    gt_label: Tensor
    pred_score: Tensor
