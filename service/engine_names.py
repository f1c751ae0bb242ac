"""Names of the engines and their precisions, for settings and command lines; loads nothing."""

AUTO_ORDER = ("tensorrt", "tensorrt-rtx", "onnxruntime:cuda", "openvino", "onnxruntime")
"""What `auto` tries, in this order; the repository logs the choice and reports it with each bundle.

TensorRT and TensorRT-RTX are taken where the bundle holds engines of all its graphs for this GPU
and this version of the library, ONNX Runtime on CUDA where there is a GPU and its package;
otherwise the CPU computes. `onnxruntime:tensorrt` builds while it is loaded, for minutes, and is
taken only by name.
"""

ENGINES = ("onnxruntime:tensorrt", *AUTO_ORDER)

PRECISIONS = {
    "tensorrt": ("fp32", "fp16", "int8"),
    "tensorrt-rtx": ("fp32", "fp16", "int8"),
    "onnxruntime:tensorrt": ("fp32", "int8"),
    "onnxruntime:cuda": ("fp32",),
    "openvino": ("fp32", "bf16", "int8"),
    "onnxruntime": ("fp32", "int8"),
}
"""What each engine computes in; a bundle offers of these what passed its parity gate."""

ENGINE_CHOICES = ("auto", *ENGINES)
PRECISION_CHOICES = ("auto", "fp32", "bf16", "fp16", "int8")
