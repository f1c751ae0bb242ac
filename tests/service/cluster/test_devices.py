"""One station for each GPU, or for each share of a machine's cores."""

import pytest

pytest.importorskip("ray", reason="run `uv sync --inexact --extra cluster`")

from service.cluster.ray_cluster import list_devices


def node(name: str, *, cores: float = 0, gpus: float = 0, alive: bool = True) -> dict[str, object]:
    return {
        "NodeID": name * 8,
        "NodeManagerHostname": name,
        "Alive": alive,
        "Resources": {"memory": 1e9, "CPU": cores} | ({"GPU": gpus} if gpus else {}),
    }


def test_cores_make_one_station_a_machine_and_more_on_large_ones():
    devices = list_devices(
        [
            node("head"),
            node("small", cores=2),
            node("large", cores=40),
            node("dead", cores=8, alive=False),
        ],
        "auto",
    )
    assert [(one.name, one.cores, one.gpus) for one in devices] == [
        ("small (smalls)", 2, 0),
        *[("large (largel)", 13, 0)] * 3,
    ]
    assert len(set(devices)) == 4


def test_gpus_are_taken_and_cores_alone_are_not():
    nodes = [node("cpu", cores=16), node("gpu", cores=12, gpus=2)]
    devices = list_devices(nodes, "auto")
    assert [(one.name, one.cores, one.gpus) for one in devices] == [
        ("gpu (gpugpu), GPU 0", 6, 1),
        ("gpu (gpugpu), GPU 1", 6, 1),
    ]
    assert list_devices(nodes, "onnxruntime:cuda") == devices


def test_an_engine_for_the_cpu_takes_the_cores_of_all():
    nodes = [node("cpu", cores=16), node("gpu", cores=12, gpus=2)]
    assert [(one.cores, one.gpus) for one in list_devices(nodes, "openvino")] == [(16, 0), (12, 0)]


def test_a_gpu_that_is_dead_leaves_the_cores():
    nodes = [node("cpu", cores=4), node("gpu", cores=12, gpus=2, alive=False)]
    assert [one.cores for one in list_devices(nodes, "auto")] == [4]
