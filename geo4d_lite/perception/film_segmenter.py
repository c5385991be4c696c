"""SAM 2 over whole films: for whoever asks for frames in any order, and more than once.

SAM 2 must see a film once, from its first image on. A video policy asks for every frame several times: for each arm,
its tracker's score, and the opening. So the films are labelled when they are made, and looked up after that.
"""

import numpy as np

from geo4d_lite.perception.protocols import Segmenter
from geo4d_lite.perception.sam2_segmenter import Sam2Segmenter


class FilmSegmenter:
    """A video model and the `Segmenter` of its newest films, in one.

    `model(view_n, view_m)` gives the video; SAM 2 is told by `first`, on the two observed images, which part is where,
    and follows the parts through the generated frames. `segment` then knows the labels of all these images.
    """

    def __init__(self, model, sam2: Sam2Segmenter, first: Segmenter):
        """`first` labels observed images only; it never sees a generated one."""
        self.model, self.sam2, self.first = model, sam2, first
        self._labels: dict[bytes, np.ndarray] = {}

    def __call__(self, view_n, view_m, **options):
        """The video, its two films labelled. A view that shows no part of a gripper has no labels in its film.

        options: go on to the model.
        """
        video = self.model(view_n, view_m, **options)
        self._labels = {}
        for view, film in zip((view_n, view_m), video.rgb, strict=True):
            told = self.first.segment(view.rgb)
            images = [view.rgb, *film]
            if told.any():
                labels = [self.sam2.start(view.rgb, told), *(self.sam2.segment(image) for image in film)]
            else:
                labels = [np.zeros_like(told) for _ in images]
            self._labels |= {_key(image): label for image, label in zip(images, labels, strict=True)}
        return video

    def segment(self, rgb: np.ndarray) -> np.ndarray:
        """rgb (H, W, 3) uint8, an image of the newest films -> labels (H, W). Raises ValueError for others."""
        try:
            return self._labels[_key(rgb)]
        except KeyError as error:
            raise ValueError("this image is in neither film of the newest video; SAM 2 has not seen it") from error


def _key(rgb: np.ndarray) -> bytes:
    return bytes(str(rgb.shape), "ascii") + np.ascontiguousarray(rgb).tobytes()
