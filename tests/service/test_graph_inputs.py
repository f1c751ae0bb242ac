"""The example inputs are what the graphs of the shipped bundles take."""

from pathlib import Path

import pytest

from service.bundle import read_bundle
from service.engine import create_engine
from service.graph_inputs import example_inputs

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "models"


@pytest.mark.parametrize("name", sorted(path.name for path in SHIPPED.iterdir()))
def test_every_graph_of_a_bundle_takes_its_example_inputs(name):
    bundle = read_bundle(max((SHIPPED / name).iterdir()))
    for graph in bundle.manifest.graph_names:
        path = bundle.graph_path(graph)
        engine = create_engine(path, engine="onnxruntime", precision="fp32", threads=1)
        inputs = example_inputs(bundle.manifest, graph, 2)
        assert {spec.name: spec.dtype for spec in engine.inputs} == {
            input_name: array.dtype for input_name, array in inputs.items()
        }
        assert all(len(output) == 2 for output in engine.run(inputs).values())
