import pytest
import torch

from training.backbones import create_backbone
from training.pose.heads import DeconvolutionHead, PyramidHead
from training.pose.model import PoseNetwork
from training.pose.transfer import take_over

pytestmark = pytest.mark.needs_train


def network(kind: str, keypoints: int, seed: int) -> PoseNetwork:
    torch.manual_seed(seed)
    if kind == "pyramid":
        backbone = create_backbone("mobilenet_v2", weights="random")
        head = PyramidHead(backbone.channels, keypoints, width=16, starts_unsure=True)
        return PoseNetwork(backbone, head).eval()
    backbone = create_backbone("resnet_18", weights="random", output_stride=16)
    deconvolution = DeconvolutionHead(
        backbone.channels, keypoints, skip=True, intermediate=True, starts_unsure=True
    )
    return PoseNetwork(backbone, deconvolution).eval()


@pytest.mark.parametrize("kind", ["pyramid", "deconvolution"])
def test_shared_keypoints_answer_as_before_and_new_ones_start_anew(kind: str) -> None:
    earlier, later = network(kind, 3, seed=1), network(kind, 2, seed=2)
    start = {name: value.clone() for name, value in later.head.scores.state_dict().items()}
    shared = take_over(later, ("paw", "nose"), earlier, ("nose", "left", "right"))
    assert shared == ("nose",)
    frames = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    before, after = earlier(frames), later(frames)
    assert torch.allclose(before.scores[:, 0], after.scores[:, 1], atol=1e-5)
    assert torch.allclose(before.offsets[:, 0], after.offsets[:, 1], atol=1e-5)
    assert later.head.scores.bias[0] == start["bias"][0]
