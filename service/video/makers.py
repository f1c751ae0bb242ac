"""What a worker makes of pictures: whole frames, inputs of models, or both."""

from typing import TYPE_CHECKING, Any

from service.video.base import Pixels, Wanted
from service.video.ring import Shapes

if TYPE_CHECKING:  # whole frames need no OpenCV, and most inputs no GPU
    from service.engine.cuda import Stream
    from service.video.device_ring import DeviceWriter
    from service.video.inputs import InputConverter, PictureViews


class FrameMaker:
    """Makes the arrays of a slot from the pictures of one video; belongs to one thread."""

    def __init__(
        self, video: "PictureViews", wanted: Wanted, hand_over: "Stream | None" = None
    ) -> None:
        """Take what to make.

        Args:
            video: converts to whole frames.
            wanted: what is to be made.
            hand_over: stream on which inputs become ready that are made on the GPU, where they
                are to stay there.

        Raises:
            InvalidFrame: the crop is empty or reaches outside the frame.
        """
        self._video = video
        self._color = wanted.color
        self._inputs: InputConverter | None = None
        self.shapes: Shapes = (video.shape,) if wanted.color else ()
        """Of the arrays: the whole frame if it is wanted, then each input."""
        self.writer: DeviceWriter | None = None
        """Puts inputs into slots on the GPU; None where slots are on the host."""
        if wanted.inputs:
            from service.video import inputs

            self._inputs = inputs.InputConverter(video, wanted.inputs, wanted.crop)
            self.shapes += self._inputs.shapes
            if hand_over is not None:
                from service.video import device_ring

                self.writer = device_ring.DeviceWriter(self._inputs, hand_over)

    def make(self, picture: Any, outs: tuple[Pixels, ...]) -> None:
        """Write what is wanted of a picture into `outs`, uint8 of `shapes`."""
        if self._color:
            self._video.convert(picture, outs[0])
        if self._inputs is not None:
            self._inputs.convert(picture, outs[1:] if self._color else outs)
