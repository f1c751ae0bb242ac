"""Lets a client ask the server for its protocols: grpcurl, MATLAB."""

from collections.abc import Sequence

import grpc
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection, reflection_pb2


def enable_reflection(server: grpc.aio.Server, files: Sequence[FileDescriptor]) -> None:
    """Describe the services of `files`, and reflection itself."""
    pool = DescriptorPool()  # of its own, since not all stubs are in the shared one
    for file in (*files, reflection_pb2.DESCRIPTOR):
        _add(pool, file)
    names = [one.full_name for file in files for one in file.services_by_name.values()]
    reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server, pool)


def _add(pool: DescriptorPool, file: FileDescriptor) -> None:
    for one in file.dependencies:
        _add(pool, one)
    pool.AddSerializedFile(file.serialized_pb)
