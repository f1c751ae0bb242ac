"""The class of DLC-Live, answered by a server: `from ethostream.dlclive import DLCLive, Processor`.

A script that was written for DLC-Live changes this import and names a bundle of the server where
it named the folder of an exported model.
"""

import warnings
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ethostream.blocking import LoopThread
from ethostream.channel import TlsOptions
from ethostream.client import AsyncClient
from ethostream.errors import (
    EthostreamError,
    InvalidFrame,
    InvalidRequest,
    ServerFailed,
    Unavailable,
)
from ethostream.live import AsyncLiveStream
from ethostream.values import BundleInfo, DynamicCrop, FrameOutcome

Pose = NDArray[np.float32]
"""(K, 3) of one animal or (N, K, 3): x and y in px of the frame as given, confidence in [0, 1]."""

_WITHOUT_EFFECT: Final = {
    "model_type": "the bundle says what it is",
    "precision": "the server chooses, see `ethostream serve --precision`",
    "device": "the server chooses, see `ethostream serve --engine`",
    "tf_config": "the server chooses, see `ethostream serve --engine`",
    "top_down_config": "a bundle finds its animals by itself",
    "top_down_dynamic": "a bundle finds its animals by itself",
    "resize": "the server resizes each frame to the input of the bundle",
    "display": "nothing is drawn here; draw what `get_pose` returns",
}
_OF_THE_DISPLAY: Final = ("pcutoff", "display_radius", "display_cmap")
_DEFAULTS: Final = {"model_type": ("base", "pytorch"), "precision": ("FP32",)}
_ERRORS: Final[Mapping[str, type[EthostreamError]]] = {
    "invalid_frame": InvalidFrame,
    "too_large": InvalidFrame,
    "decode_failed": InvalidFrame,
    "lost": Unavailable,
}


class Processor:
    """Sees each pose before `get_pose` returns it; derive from it to act on poses."""

    def __init__(self, **kwargs: Any) -> None:
        """Take what a class of one's own wants to keep."""

    def process(self, pose: Pose, **kwargs: Any) -> Any:
        """Act on a pose and return what `get_pose` is to return.

        Args:
            pose: (K, 3) or (N, K, 3); the caller's own.
            kwargs: what was given to `get_pose` beside the frame, such as `frame_time`.
        """
        return pose

    def save(self, filename: str = "") -> int:
        """Write what was gathered, where there is anything; called by nobody but the script."""
        return 0


class DLCLive:
    """One frame in, its pose out, as DLC-Live does it; the network runs on a server.

    Poses are px of the frame as given, also with `cropping` and `dynamic`. One frame is in flight:
    `get_pose` waits for the answer to its own frame. After a broken connection it raises
    `Unavailable` for that frame, and connects again with the next one.

    Args:
        model_path: A bundle that the server has loaded, `name` or `name@version`. Not a folder:
            this package computes nothing itself.
        processor: Sees each pose; any object with `process(pose, **kwargs)`.
        cropping: [x1, x2, y1, y2] px: the part of each frame that is sent and looked at.
        dynamic: (on, confidence, margin in px): crop each frame around the keypoints that were
            found in the one before. Unlike DLC-Live, what a processor returns has no part in it,
            and no crop is magnified more than 2.5 times.
        convert2rgb: Color frames are BGR, as OpenCV gives them; False: they are RGB.
        single_animal: Poses are (K, 3), of a bundle for one animal; False: (N, K, 3).
        server: HOST:PORT of the server.
        token: Where the server asks for one.
        tls: How to reach the server over TLS; None = without.
        others: model_type, precision, device, tf_config, top_down_config, top_down_dynamic, resize
            and display are taken with a warning that they have no effect here, unless they ask for
            nothing; pcutoff, display_radius and display_cmap belong to the display.

    Raises:
        InvalidRequest: An argument is not as described.
    """

    def __init__(
        self,
        model_path: str | PathLike[str],
        *,
        processor: Any = None,
        cropping: Sequence[int] | None = None,
        dynamic: tuple[bool, float, float] = (False, 0.5, 10),
        convert2rgb: bool = True,
        single_animal: bool = True,
        server: str = "127.0.0.1:50051",
        token: str | None = None,
        tls: TlsOptions | None = None,
        **others: Any,
    ) -> None:
        self.path = _bundle_name(fspath(model_path), server)
        self.processor = processor
        self.cropping = _checked_cropping(cropping)
        self.dynamic = dynamic
        self.convert2rgb = convert2rgb
        self.single_animal = single_animal
        self.pose: Any = None
        """What `get_pose` returned last."""
        self.cfg: dict[str, Any] | None = None
        """Names of keypoints as DLC-Live gives them: `all_joints_names` in the order of a pose's
        rows, and `metadata` with `bodyparts`; there after `init_inference`."""
        self._dynamic_crop = _dynamic_crop(dynamic)
        _warn(others)
        self._client = AsyncClient(server, token=token, tls=tls)
        self._stream: AsyncLiveStream | None = None
        self._thread = LoopThread(self)

    def init_inference(self, frame: NDArray[np.uint8] | None = None, **kwargs: Any) -> Any:
        """Connect, and return the pose of a first frame; call it again for frames of another size.

        Args:
            frame: (H, W) or (H, W, 3) uint8; None: only connect.
            kwargs: handed on to the processor.

        Raises:
            NotFound: The server has not loaded the bundle.
            InvalidRequest: It finds no poses, or several animals where `single_animal` is set.
            EthostreamError: The server refuses, or is not there.
        """
        self._thread.run(self._begin())
        return None if frame is None else self.get_pose(frame, **kwargs)

    def get_pose(self, frame: NDArray[np.uint8], **kwargs: Any) -> Any:
        """Send a frame and wait for its pose.

        Args:
            frame: (H, W) or (H, W, 3) uint8, of the size of the first one.
            kwargs: handed on to the processor.

        Returns:
            (K, 3) or (N, K, 3) float32: x, y in px of the frame as given, confidence; or what the
            processor makes of it.

        Raises:
            InvalidFrame: The frame cannot be sent or read, or has another size than the first one.
            Unavailable: The connection broke before the answer.
            EthostreamError: The server refuses or fails.
        """
        x1, _, y1, _ = self.cropping or (0, 0, 0, 0)
        outcome = self._thread.run(self._ask(self._cropped(frame)))
        if outcome.kind != "result":
            raise _ERRORS.get(outcome.reason, ServerFailed)(outcome.message)
        found = outcome.poses[0]
        poses: Pose = np.dstack([found.keypoints_xy, found.confidence])
        poses += np.array([x1, y1, 0], np.float32)
        self.pose = poses[0] if self.single_animal else poses
        if self.processor is not None:
            self.pose = self.processor.process(self.pose, **kwargs)
        return self.pose

    def close(self) -> None:
        """End the connection; may be called again."""
        if self._thread.is_alive:
            self._thread.run(self._end())
            self._thread.stop()

    def __enter__(self) -> "DLCLive":
        """Give the object itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the connection."""
        self.close()

    def _cropped(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if not self.cropping or not isinstance(frame, np.ndarray):
            return frame  # what is no array is told by the stream
        x1, x2, y1, y2 = self.cropping
        if y2 > frame.shape[0] or x2 > frame.shape[1]:
            raise InvalidFrame(
                f"cropping {list(self.cropping)} is not inside a frame of shape {frame.shape}; "
                "give [x1, x2, y1, y2] px of the frame"
            )
        return frame[y1:y2, x1:x2]

    async def _ask(self, frame: NDArray[np.uint8]) -> FrameOutcome:
        stream = self._stream or await self._begin()
        try:
            sent = await stream.send(frame)
            async for answer in stream:  # an interrupted call may have left an older one
                if isinstance(answer, FrameOutcome) and answer.frame_index == sent:
                    return answer
        except InvalidFrame:
            raise
        except EthostreamError:  # the stream is over: the next call begins another
            await self._end_stream()
            raise
        raise ServerFailed(f"the stream ended without an answer to frame {sent}; report this")

    async def _begin(self) -> AsyncLiveStream:
        await self._end_stream()
        stream = self._client.stream(
            self.path,
            max_frames_in_flight=1,
            color="bgr" if self.convert2rgb else "rgb",
            camera="dlclive",
            dynamic_crop=self._dynamic_crop,
            shared_memory="auto",
        )
        await stream.open()
        self._stream = stream
        try:
            self.cfg = _config(stream.bundles[0], single_animal=self.single_animal)
        except InvalidRequest:
            await self._end_stream()
            raise
        return stream

    async def _end_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.aclose()

    async def _end(self) -> None:
        await self._end_stream()
        await self._client.close()


def _bundle_name(path: str, server: str) -> str:
    if "/" in path or "\\" in path:
        raise InvalidRequest(
            f"'{path}' is a path, but the network runs on the server at {server}: name a bundle "
            "that it has loaded (`ethostream models list` shows them); an exported DeepLabCut "
            "model becomes one by `ethostream import dlc`"
        )
    return path


def _checked_cropping(cropping: Sequence[int] | None) -> tuple[int, int, int, int] | None:
    if cropping is None:
        return None
    if len(cropping) == 4:
        x1, x2, y1, y2 = map(int, cropping)
        if 0 <= x1 < x2 and 0 <= y1 < y2:
            return x1, x2, y1, y2
    raise InvalidRequest(f"cropping is {cropping}; give [x1, x2, y1, y2] px, 0 <= x1 < x2, y1 < y2")


def _dynamic_crop(dynamic: tuple[bool, float, float]) -> DynamicCrop | None:
    if len(dynamic) != 3:
        raise InvalidRequest(f"dynamic is {dynamic}; give (on, confidence, margin in px)")
    is_on, confidence, margin_px = dynamic
    return DynamicCrop(margin_px=margin_px, confidence_cutoff=confidence) if is_on else None


def _warn(others: Mapping[str, Any]) -> None:
    for name, value in others.items():
        if name in _OF_THE_DISPLAY:
            continue
        if name not in _WITHOUT_EFFECT:
            raise TypeError(f"DLCLive has no argument '{name}'")
        if value is not None and value is not False and value not in _DEFAULTS.get(name, ()):
            why = _WITHOUT_EFFECT[name]
            warnings.warn(f"{name}={value!r} has no effect: {why}", stacklevel=3)


def _config(info: BundleInfo, *, single_animal: bool) -> dict[str, Any]:
    if info.pose is None:
        raise InvalidRequest(f"{info.bundle} answers behaviors, not poses; name a pose bundle")
    if single_animal and info.pose.max_animals > 1:
        raise InvalidRequest(
            f"{info.bundle} finds up to {info.pose.max_animals} animals; set single_animal=False "
            "to get poses of shape (N, K, 3), or name a bundle for one animal"
        )
    unique = list(info.pose.unique_keypoints)
    bodyparts = [name for name in info.pose.keypoints if name not in unique]
    return {
        "all_joints_names": list(info.pose.keypoints),
        "metadata": {"bodyparts": bodyparts, "unique_bodyparts": unique},
    }
