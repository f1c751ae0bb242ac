"""The gRPC edge: protobuf in, protobuf out; nothing else in the service knows protobuf."""

from service.servicer.inference import InferenceServicer
from service.servicer.jobs import JobServicer
from service.servicer.models import ModelServicer

__all__ = ["InferenceServicer", "JobServicer", "ModelServicer"]
