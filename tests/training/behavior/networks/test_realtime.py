import pytest
import torch

from training.backbones import create_backbone
from training.behavior.networks import realtime_flow
from training.behavior.networks.causal_head import CausalHead
from training.behavior.networks.realtime_features import RealtimeFeatures

pytestmark = pytest.mark.needs_train


def make_head() -> CausalHead:
    torch.manual_seed(2)
    return CausalHead(12, 3, width=8, dilations=(1, 2, 4), dropout=0.5).eval()


def test_frame_by_frame_gives_what_all_frames_at_once_give() -> None:
    head = make_head()
    features = torch.randn(2, 40, 12)
    with torch.no_grad():
        together, last = head(features, torch.zeros(2, head.state_size))
        state, alone = torch.zeros(2, head.state_size), []
        for frame in range(40):
            logits, state = head(features[:, frame : frame + 1], state)
            alone.append(logits)
        in_parts, state_too = [], torch.zeros(2, head.state_size)
        for first, end in ((0, 7), (7, 8), (8, 40)):
            logits, state_too = head(features[:, first:end], state_too)
            in_parts.append(logits)
    assert (torch.cat(alone, dim=1) - together).abs().max() <= 1e-4
    assert (torch.cat(in_parts, dim=1) - together).abs().max() <= 1e-4
    assert (state - last).abs().max() <= 1e-4
    assert (state_too - last).abs().max() <= 1e-4


def test_no_frame_sees_a_later_one() -> None:
    head = make_head()
    features = torch.randn(1, 30, 12)
    changed = features.clone()
    changed[:, 20:] += 1.0
    with torch.no_grad():
        before, after = head.whole(features), head.whole(changed)
    assert (before[:, :20] == after[:, :20]).all()
    assert (before[:, 20:] != after[:, 20:]).any()


def test_a_frame_sees_as_far_back_as_the_dilations_say() -> None:
    head = make_head()
    features = torch.randn(1, 40, 12)
    changed = features.clone()
    changed[:, 10] += 1.0
    with torch.no_grad():
        differs = (head.whole(features) != head.whole(changed)).any(dim=2)[0]
    last = 10 + 2 * (1 + 2 + 4)
    assert differs[last]
    assert not differs[last + 1 :].any()


def test_the_state_is_flat_and_as_long_as_it_says() -> None:
    head = make_head()
    assert head.state_size == 8 * 2 * (1 + 2 + 4)
    _, state = head(torch.zeros(3, 1, 12), torch.zeros(3, head.state_size))
    assert state.shape == (3, head.state_size)


@pytest.mark.parametrize("channels", [1, 3])
def test_features_have_the_sizes_of_the_bundle(channels: int) -> None:
    network = RealtimeFeatures(
        create_backbone("mobilenet_v2", weights="random"), flow_frames=4, behaviors=3, dropout=0.5
    ).eval()
    frames = torch.randint(0, 256, (2, 64, 96, channels), dtype=torch.uint8)
    features, logits = network(frames, torch.randn(2, 4, 2, 32, 48))
    assert features.shape == (2, network.feature_size)
    assert logits.shape == (2, 3)


def test_features_depend_on_frames_and_on_flows() -> None:
    torch.manual_seed(1)
    network = RealtimeFeatures(
        create_backbone("mobilenet_v2", weights="random"), flow_frames=2, behaviors=3, dropout=0.0
    ).eval()
    frames = torch.randint(0, 256, (1, 64, 96, 1), dtype=torch.uint8)
    flows = torch.randn(1, 2, 2, 32, 48)
    _, logits = network(frames, flows)
    assert (network(255 - frames, flows)[1] != logits).any()
    assert (network(frames, flows + 2)[1] != logits).any()


@pytest.mark.parametrize("size", [(66, 88), (17, 22), (9, 11)])
def test_the_exported_flow_shrinks_frames_as_the_trained_one(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = torch.rand(2, 2, 132, 176)
    trained = realtime_flow._shrink(frames, size)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    assert torch.allclose(realtime_flow._shrink(frames, size), trained, atol=1e-6)
