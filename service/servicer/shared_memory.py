"""Whether a client may lay its frames in shared memory, and where it is."""

from ethostream.v1 import frame_pb2

from service.addresses import is_local_peer
from service.errors import SharedMemoryRefused
from service.shared_memory import SharedSegment


def open_shared_memory(
    message: frame_pb2.SharedMemory, peer: str, *, is_allowed: bool
) -> SharedSegment:
    """Map the memory that a client names.

    Args:
        message: what the client says of it.
        peer: the client, as gRPC names it.
        is_allowed: whether the operator allows it.

    Raises:
        SharedMemoryRefused: it is not allowed, the client is not on this machine, or the memory
            cannot be read.
    """
    if not is_allowed:
        raise SharedMemoryRefused(
            "this server takes no frames from shared memory (server.shared_memory is false); send "
            "the frames' bytes"
        )
    if not is_local_peer(peer):
        raise SharedMemoryRefused(
            f"shared memory is for clients on the server's own machine, and {peer} came over the "
            "network; connect to 127.0.0.1 or the Unix socket there, or send the frames' bytes"
        )
    return SharedSegment(message.process_id, message.file_descriptor, message.name)
