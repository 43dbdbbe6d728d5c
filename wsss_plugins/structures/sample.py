"""The image-level labels and predicted scores of one image."""

from __future__ import annotations

from mmengine.structures import BaseDataElement
from torch import Tensor


class ClassSample(BaseDataElement):
    """Input labels and output scores of a classifier for one image, without pixels.

    The metainfo names the image: ``img_id``, ``img_path``, and as ``(H, W)``
    ``ori_shape`` (of the file) and ``img_shape`` (of the input to the model). ``img_box``,
    where it is there, is the part ``[y0, y1, x0, x1]`` of the input that is no padding,
    half-open, and ``draw`` a number that follows from seed, epoch and image.

    Attributes:
        gt_label: ``(C,)`` float32 in {0, 1}, the image-level labels; background
            is not a class.
        pred_score: ``(C,)`` float32 in [0, 1], set by the classifier's prediction.
        photo: ``(3, h, w)`` uint8 RGB, the colours of the image for methods that look at
            them; only where a transform loads it.
    """

    gt_label: Tensor
    pred_score: Tensor
    photo: Tensor
