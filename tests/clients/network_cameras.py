"""Cameras on the network, small but real: RTSP with interleaved RTP, and MJPEG over HTTP."""

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import av
import numpy as np

SIZE = (96, 64)
RATE_HZ = 30
_MTU = 1200


def levels(count: int) -> list[int]:
    """A gray level for each frame, by which it is known."""
    return [40 + 8 * index for index in range(count)]


def pictures(count: int) -> Iterator[av.VideoFrame]:
    """Frames of one gray level each."""
    for index, level in enumerate(levels(count)):
        pixels = np.full((SIZE[1], SIZE[0], 3), level, np.uint8)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts = index
        yield frame


@contextmanager
def rtsp_camera(count: int, *, stays_silent: bool = False) -> Iterator[str]:
    """Give the address of a camera that sends `count` frames of H.264 to whoever plays it.

    Args:
        count: frames, 30 a second.
        stays_silent: keep the connection after the last frame, and send nothing more.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()
        work = threading.Thread(target=_serve_rtsp, args=(server, count, stays_silent, ended))
        work.start()
        try:
            yield f"rtsp://user:secret@127.0.0.1:{server.getsockname()[1]}/live"
        finally:
            ended.set()
            server.close()
            work.join(10)


def _serve_rtsp(
    server: socket.socket, count: int, stays_silent: bool, ended: threading.Event
) -> None:
    try:
        connection, _ = server.accept()
    except OSError:
        return
    with connection:
        for request in _requests(connection):
            method = request[0].split()[0]
            sequence = next(line.split(":")[1].strip() for line in request if "CSeq" in line)
            headers, body = ["RTSP/1.0 200 OK", f"CSeq: {sequence}", "Session: 1"], ""
            if method == "OPTIONS":
                headers.append("Public: DESCRIBE, SETUP, PLAY, TEARDOWN")
            if method == "DESCRIBE":
                body = (
                    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
                    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
                    "a=fmtp:96 packetization-mode=1\r\na=control:track\r\n"
                )
                headers += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
            if method == "SETUP":
                headers.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
            connection.sendall(("\r\n".join(headers) + "\r\n\r\n" + body).encode())
            if method == "PLAY":
                for packet in _rtp_packets(count):
                    connection.sendall(b"$\x00" + len(packet).to_bytes(2, "big") + packet)
                if stays_silent:
                    ended.wait(30)
                return


def _requests(connection: socket.socket) -> Iterator[list[str]]:
    held = b""
    while True:
        data = connection.recv(4096)
        if not data:
            return
        held += data
        while b"\r\n\r\n" in held:
            head, held = held.split(b"\r\n\r\n", 1)
            yield head.decode().split("\r\n")


def _rtp_packets(count: int) -> Iterator[bytes]:
    """RTP as FFmpeg packs it, fetched from a socket of its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(0.05)
        address = f"rtp://127.0.0.1:{receiver.getsockname()[1]}?pkt_size={_MTU}"
        options = {"preset": "ultrafast", "tune": "zerolatency", "qp": "8"}
        with av.open(address, "w", format="rtp") as output:
            stream = output.add_stream("libx264", rate=RATE_HZ, options=options)
            stream.width, stream.height = SIZE
            stream.pix_fmt = "yuv420p"
            for frame in pictures(count):
                output.mux(stream.encode(frame))
                yield from _received(receiver)
            output.mux(stream.encode(None))
            yield from _received(receiver)


def _received(receiver: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            packet = receiver.recv(65536)
        except TimeoutError:
            return
        if packet[1] & 0x7F == 96:  # not the sender's reports
            yield packet


@contextmanager
def http_camera(jpegs: Sequence[bytes]) -> Iterator[str]:
    """Give the address of a camera that sends JPEG pictures one after the other, once."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        work = threading.Thread(target=_serve_http, args=(server, jpegs))
        work.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/video.mjpg"
        finally:
            server.close()
            work.join(10)


def _serve_http(server: socket.socket, jpegs: Sequence[bytes]) -> None:
    try:
        connection, _ = server.accept()
    except OSError:
        return
    with connection:
        connection.recv(65536)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=next\r\n\r\n"
        )
        for jpeg in jpegs:
            length = str(len(jpeg)).encode()
            connection.sendall(
                b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: " + length + b"\r\n\r\n"
            )
            connection.sendall(jpeg + b"\r\n")
            time.sleep(1 / RATE_HZ)
        connection.sendall(b"--next--\r\n")
