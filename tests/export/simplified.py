"""What a simplifier would take out of a graph."""

from collections import Counter
from pathlib import Path

import onnx
import onnxscript.optimizer

IDLE = ("Constant", "Dropout", "Identity")


def removable_nodes(path: Path) -> list[str]:
    """List nodes that compute nothing, the same for every input, or what another one computes."""
    model = onnx.load(path)
    constants = {one.name for one in model.graph.initializer} | {""}
    found = []
    known = set()
    for node in model.graph.node:
        work = (node.op_type, *node.input, *(str(one) for one in node.attribute))
        if node.op_type in IDLE or work in known or constants.issuperset(node.input):
            found.append(f"{node.op_type} {node.name}")
        known.add(work)
    again = Counter(one.op_type for one in onnxscript.optimizer.optimize(model).graph.node)
    before = Counter(one.op_type for one in onnx.load(path).graph.node)
    return [*found, *(before - again).elements()]
