"""Reads a file with a decoder that is fast and tells little, under PyAV's eyes.

PyAV's packet index says which frames there are. The fast decoder decodes stretch by stretch; where
it begins, its pictures are compared with PyAV's, as is the key frame of every stretch, and all must
come under the times of the frames that are due. Where one does not, or the decoder fails, PyAV
decodes the rest of the stretch, and the fast decoder begins again at the next key frame.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import Protocol, TypeAlias

import av
import cv2
import numpy as np

from service.errors import DecoderFailed
from service.preprocess import to_color
from service.values import FrameStatus
from service.video.base import ModelInputs, Pixels
from service.video.inputs import InputConverter
from service.video.keys import KeyPictures
from service.video.packets import Progress
from service.video.pyav import PictureRow, VideoFile
from service.video.stretches import Stretch

# Times are whole ticks in the index and fractions in decoders; a tick is longer than this.
_TIME_TOLERANCE_NS = 1000
# Frames that PyAV decodes as well: from a key frame that does not stand alone, decoders go on with
# pictures that nothing tells from good ones.
_COMPARED_FRAMES = 48
# Decoders agree exactly on luma; its way through RGB costs a level or two.
_MOST_DIFFERENCE = 8
_MOST_PIXELS_OFF = 1e-4
# After so many failures the rest of a file is PyAV's.
_MOST_FAILURES = 3

Picture: TypeAlias = Pixels | ModelInputs | av.VideoFrame


class PictureSource(Protocol):
    """A fast decoder on one file."""

    @property
    def decoder(self) -> str:
        """Name, version and device."""
        ...

    def pictures(self, number: int) -> Iterator[tuple[int, Picture]]:
        """Yield the pictures of a stretch; stretches are asked for in rising order.

        Yields:
            Time since the file's first frame, ns, and a picture: the stored grid, (H, W, 3) RGB or
            (H, W) gray, uint8; or the inputs of models; or a frame of PyAV. It is valid until the
            next step.

        Raises:
            DecoderFailed: the decoder cannot go on; `restart` follows, or `close`.
        """
        ...

    def restart(self, number: int) -> None:
        """Begin again, at the begin of a stretch."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


class GuardedFile:
    """An open file, with the rows of `VideoFile` and the speed of another decoder."""

    def __init__(
        self,
        truth: VideoFile,
        source: PictureSource,
        stretches: tuple[Stretch, ...],
        inputs: InputConverter | None = None,
        *,
        is_required: bool,
        progress: Progress = lambda: None,
    ) -> None:
        """Take both decoders.

        Args:
            truth: the file in PyAV.
            source: the fast decoder; makes the same color.
            stretches: all of the file, as `source` knows them.
            inputs: makes of PyAV's pictures what `source` makes, where that is not whole pictures.
            is_required: `rows` is to fail where `source` cannot begin.
            progress: called between pictures; may raise to leave the job.
        """
        self._truth = truth
        self._source = source
        self._stretches = stretches
        self._inputs = inputs
        self._progress = progress
        self.quarter_turns = truth.quarter_turns
        self.shape = truth.shape
        self.info = replace(truth.info, decoder=source.decoder)
        self.frames = truth.frames
        self.taken_over = 0
        """Rows so far that PyAV decoded instead."""
        self._first_failure = ""
        self._is_required = is_required

    @property
    def note(self) -> str:
        """What PyAV did, and why; empty where it had nothing to do."""
        if not self.taken_over:
            return ""
        return f"{self.taken_over} frames were decoded by PyAV: {self._first_failure}"

    def rows(self, first_frame: int = 0, frame_limit: int | None = None) -> Iterator[PictureRow]:
        """Yield the rows from `first_frame` on, at most `frame_limit`; see `VideoFile.rows`.

        Raises:
            DecoderFailed: the fast decoder is required and could not begin.
        """
        end = self.frames if frame_limit is None else min(self.frames, first_frame + frame_limit)
        with closing(self._source), closing(self._truth.open_keys()) as keys:
            for row in self._all_rows(first_frame, end, keys):
                if row.frame_index >= end:
                    return
                if row.frame_index >= first_frame:
                    yield row

    def convert(self, picture: Picture, out: Pixels) -> None:
        """Write the pixels of a row into `out`, uint8 of `shape`."""
        if isinstance(picture, av.VideoFrame):
            self._truth.convert(picture, out)
        else:
            np.copyto(out, self.view(picture))

    def view(self, picture: Picture) -> Pixels:
        """Return the pixels of a row, uint8 of `shape`, in memory that the next one takes."""
        assert not isinstance(picture, ModelInputs), "inputs of models are no whole pictures"
        if isinstance(picture, av.VideoFrame):
            return self._truth.view(picture)
        return np.rot90(picture, self.quarter_turns)

    def _all_rows(self, first_frame: int, end: int, keys: KeyPictures) -> Iterator[PictureRow]:
        """Yield rows, from the begin of a stretch at or before `first_frame` on."""
        wanted = [
            number
            for number, one in enumerate(self._stretches)
            if one.end > first_frame and one.first < end
        ]
        failures, is_running = 0, False
        for number in wanted:
            stretch = self._stretches[number]
            done = stretch.first
            if failures < _MOST_FAILURES:
                try:
                    if is_running:
                        compared = self._key_comparison(stretch, keys)
                    else:
                        self._source.restart(number)
                        compared = self._comparison(stretch)
                    is_running = True
                    for row in self._checked(number, stretch, compared):
                        done = row.frame_index + 1
                        yield row
                except DecoderFailed as error:
                    if self._is_required and not is_running and not failures:
                        raise DecoderFailed(
                            f"{self._source.decoder} {error}; ask for another decoder, or for auto"
                        ) from error
                    failures, is_running = failures + 1, False
                    self._note(stretch, error)
            if done < stretch.end:
                self.taken_over += stretch.end - done
                yield from self._truth.rows(done, stretch.end - done)
        shown = self._stretches[-1].end
        if end > shown:  # frames that a cut file lists and does not hold
            yield from self._truth.rows(max(first_frame, shown), end - shown)

    def _checked(
        self, number: int, stretch: Stretch, compared: Iterator[Pixels]
    ) -> Iterator[PictureRow]:
        due = stretch.first
        origin_ns = self._truth.frame_time_ns(0)
        for time_ns, picture in self._source.pictures(number):
            self._progress()
            if due == stretch.end:
                raise DecoderFailed(f"gave more than the {len(stretch)} frames of a stretch")
            expected_ns = self._truth.frame_time_ns(due)
            if abs(time_ns + origin_ns - expected_ns) > _TIME_TOLERANCE_NS:
                raise DecoderFailed(
                    f"gave a frame of {(time_ns + origin_ns) / 1e9:.6f} s where one of "
                    f"{expected_ns / 1e9:.6f} s was due"
                )
            self._check_size(picture)
            for expected in islice(compared, 1):
                self._compare(due, picture, expected)
            yield PictureRow(due, expected_ns, FrameStatus.OK, picture, "")
            due += 1
        if due < stretch.end:
            raise DecoderFailed(f"gave {due - stretch.first} of the {len(stretch)} frames")

    def _comparison(self, stretch: Stretch) -> Iterator[Pixels]:
        """Yield the first frames in gray, as PyAV decodes them."""
        for row in self._truth.rows(stretch.first, min(len(stretch), _COMPARED_FRAMES)):
            if row.picture is None:
                raise DecoderFailed(f"was to decode frame {row.frame_index}, which {row.reason}")
            yield self._gray(row.picture)

    def _key_comparison(self, stretch: Stretch, keys: KeyPictures) -> Iterator[Pixels]:
        """Yield the first frame in gray, which a decoder may have jumped to."""
        index = self._truth.index
        picture = keys.picture(index.pts.item(index.shown.item(stretch.first)))
        if picture is not None:
            yield self._gray(picture)

    def _compare(self, frame_index: int, picture: Picture, expected: Pixels) -> None:
        """Refuse a picture that is not the one that PyAV decodes."""
        difference = cv2.absdiff(self._gray(picture), expected)
        off = float(np.mean(difference > _MOST_DIFFERENCE))
        if off > _MOST_PIXELS_OFF:
            raise DecoderFailed(
                f"shows frame {frame_index} otherwise than PyAV: {off:.2%} of its pixels differ"
            )

    def _check_size(self, picture: Picture) -> None:
        if isinstance(picture, ModelInputs):
            return
        if isinstance(picture, av.VideoFrame):
            size = (picture.width, picture.height)
        else:
            size = (picture.shape[1], picture.shape[0])
        stored = (self._truth.stored.width_px, self._truth.stored.height_px)
        if size != stored:
            raise DecoderFailed(f"gave {size[0]}x{size[1]} px where {stored[0]}x{stored[1]} is due")

    def _gray(self, picture: Picture) -> Pixels:
        if self._inputs is not None:
            outs = tuple(np.empty(shape, np.uint8) for shape in self._inputs.shapes)
            self._inputs.convert(picture, outs)
            return to_color(outs[0], "gray")[..., 0]
        return to_color(self.view(picture), "gray")[..., 0].copy()

    def _note(self, stretch: Stretch, error: DecoderFailed) -> None:
        if not self._first_failure:
            frames = f"frames {stretch.first} to {stretch.end - 1}"
            self._first_failure = f"{self._source.decoder} {error} ({frames})"
