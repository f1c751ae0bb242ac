"""Engines built ahead: TensorRT for the GPU at hand, TensorRT-RTX for generations of GPUs."""
