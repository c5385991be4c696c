"""SAM 2 as a segmenter: it knows nothing of grippers, but follows what a first image's masks point out.

The weights are Meta's (Apache 2.0), read by transformers from a folder or the Hugging Face Hub; none are shipped here.
Not exercised here with them: the tests run a small network of the same classes with random weights on rendered frames.
"""

from pathlib import Path

import numpy as np

from geo4d_lite.perception.protocols import PerceptionError

IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Sam2Segmenter:
    """Follow the parts of both grippers through a video with SAM 2; a `Segmenter` once `start` has been called.

    Args:
        model: transformers' `Sam2VideoModel`.

    Images are resized to the model's square input here: transformers' own processors need torchvision.
    """

    def __init__(self, model):
        self.model = model.eval()
        self._session, self._labels = None, np.empty(0, np.uint8)

    @classmethod
    def from_pretrained(cls, path_or_hub_id: str | Path = "facebook/sam2.1-hiera-tiny", device: str = "cpu"):
        """Load SAM 2. Raises FileNotFoundError where neither a folder nor the Hub has it."""
        from transformers import Sam2VideoModel

        try:
            return cls(Sam2VideoModel.from_pretrained(str(path_or_hub_id)).to(device))
        except OSError as error:
            raise FileNotFoundError(
                f"no SAM 2 at {path_or_hub_id} ({str(error).splitlines()[0]}); give a folder with its weights in "
                "transformers' layout, or its name on the Hub"
            ) from error

    def start(self, rgb: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Begin a video with its first image (H, W, 3) uint8 and what it shows, labels (H, W) uint8, 0 for nothing.

        Returns SAM 2's own labels of that image. Raises PerceptionError if there is no label to follow.
        """
        import torch
        import torch.nn.functional as F
        from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

        self._labels = np.unique(labels[labels > 0])
        if not len(self._labels):
            raise PerceptionError("the first image has no labelled part; there is nothing for SAM 2 to follow")
        device, dtype = self.model.device, self.model.dtype
        height, width = rgb.shape[:2]
        self._session = Sam2VideoInferenceSession(
            video_height=height, video_width=width, inference_device=device, dtype=dtype
        )
        size = self.model.config.image_size
        for label in self._labels:
            mask = torch.from_numpy(labels == label).float()[None, None]
            mask = F.interpolate(mask, (size, size), mode="bilinear", align_corners=False) >= 0.5
            self._session.add_mask_inputs(self._session.obj_id_to_idx(int(label)), 0, mask)
        self._session.obj_with_new_inputs = [int(label) for label in self._labels]
        return self.segment(rgb)

    def segment(self, rgb: np.ndarray) -> np.ndarray:
        """The next image (H, W, 3) uint8 -> labels (H, W) uint8. Raises PerceptionError before `start`."""
        import torch
        import torch.nn.functional as F

        if self._session is None:
            raise PerceptionError("SAM 2 was not told what to follow; call start(rgb, labels) on the first image")
        with torch.no_grad():
            logits = self.model(self._session, frame=self._pixels(rgb)).pred_masks  # (parts, 1, h, w)
        logits = F.interpolate(logits.float(), rgb.shape[:2], mode="bilinear", align_corners=False)[:, 0]
        best, part = (x.cpu().numpy() for x in logits.max(dim=0))
        return np.where(best > 0, self._labels[part], 0).astype(np.uint8)

    def _pixels(self, rgb: np.ndarray):
        """(H, W, 3) uint8 -> (1, 3, S, S), normalised as SAM 2 was trained."""
        import torch
        import torch.nn.functional as F

        size = self.model.config.image_size
        x = torch.from_numpy(np.ascontiguousarray(rgb)).to(self.model.device).permute(2, 0, 1)[None].float() / 255
        x = F.interpolate(x, (size, size), mode="bilinear", align_corners=False, antialias=True)
        mean, std = (x.new_tensor(values)[:, None, None] for values in (IMAGE_MEAN, IMAGE_STD))
        return ((x - mean) / std).to(self.model.dtype)
