import numpy as np
import pytest
import torch
from torch.nn import functional
from torchmetrics.functional.image import structural_similarity_index_measure

from training.behavior.flow import flow_loss, gray_pairs, structural_similarity, warp
from training.behavior.networks.realtime_flow import RealtimeFlow, normal_flow

pytestmark = pytest.mark.needs_train


def shifted_texture(x_px: int, y_px: int) -> torch.Tensor:
    """(1, 2, 64, 96): a texture, and the same with its content moved by (x_px, y_px)."""
    noise = torch.rand(1, 1, 96, 128, generator=torch.Generator().manual_seed(1))
    texture = functional.avg_pool2d(noise, 5, 1, 2) * 2
    first = texture[:, :, 16:80, 16:112]
    second = texture[:, :, 16 - y_px : 80 - y_px, 16 - x_px : 112 - x_px]
    return torch.cat([first, second], dim=1)


def as_frames(pairs: torch.Tensor) -> torch.Tensor:
    """(B, 2, H, W) gray levels in [0, 1] to (B, 2, H, W, 1) bytes."""
    return (pairs.clamp(0, 1) * 255).round().to(torch.uint8)[..., None]


def constant_flows(x_px: float, y_px: float) -> list[torch.Tensor]:
    motion = torch.tensor([float(x_px), float(y_px)]).view(1, 1, 2, 1, 1)
    return [motion.expand(1, 1, 2, 64 // scale, 96 // scale) for scale in (2, 4, 8, 16)]


@pytest.mark.parametrize(("x_px", "y_px"), [(4, 0), (0, -4), (2, 6)])
def test_the_true_displacement_costs_less_than_none_and_less_than_its_opposite(
    x_px: int, y_px: int
) -> None:
    frames = as_frames(shifted_texture(x_px, y_px))
    true, figures = flow_loss(frames, constant_flows(x_px, y_px))
    none, still = flow_loss(frames, constant_flows(0, 0))
    opposite, _ = flow_loss(frames, constant_flows(-x_px, -y_px))
    assert true < none
    assert true < opposite
    assert figures["ssim"] > still["ssim"]
    assert figures["l1"] < still["l1"]


def test_a_flow_points_from_the_first_frame_to_the_second() -> None:
    pairs = shifted_texture(3, -2)
    flow = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 64, 96)
    rebuilt = warp(pairs[:, 1:], flow, 1.0)
    inner = (slice(None), slice(None), slice(4, -4), slice(4, -4))
    assert (rebuilt - pairs[:, :1])[inner].abs().max() < 1e-4


def test_identical_images_are_fully_similar() -> None:
    image = torch.rand(1, 1, 32, 32)
    assert structural_similarity(image, image).min() > 0.999
    assert structural_similarity(image, 1 - image).mean() < 0.1


def test_similarity_is_that_of_the_field_away_from_the_edges() -> None:
    first = torch.rand(2, 1, 40, 32)
    second = (first + 0.2 * torch.rand_like(first)).clamp(0, 1)
    _, expected = structural_similarity_index_measure(
        first, second, data_range=1.0, return_full_image=True
    )
    inner = (slice(None), slice(None), slice(5, -5), slice(5, -5))
    found = structural_similarity(first, second)
    assert found.shape == first.shape
    torch.testing.assert_close(found[inner], expected[inner], atol=1e-4, rtol=0)


def test_similarity_repeats_the_edges() -> None:
    first, second = torch.rand(1, 1, 12, 16), torch.rand(1, 1, 12, 16)
    wider = [functional.pad(one, (5, 5, 5, 5), mode="replicate") for one in (first, second)]
    expected = structural_similarity(*wider)[..., 5:-5, 5:-5]
    torch.testing.assert_close(structural_similarity(first, second), expected, atol=1e-4, rtol=0)


def test_rough_flow_costs_more_than_smooth_flow() -> None:
    frames = torch.full((1, 2, 64, 96, 1), 128, dtype=torch.uint8)
    rough = [flow + torch.rand(flow.shape) for flow in constant_flows(0, 0)]
    still = constant_flows(0, 0)
    smooth_loss = flow_loss(frames, still)[0]
    assert flow_loss(frames, rough)[0] > smooth_loss
    unpunished = flow_loss(frames, rough, smoothness_factor=0)[0].item()
    assert unpunished == pytest.approx(smooth_loss.item(), abs=1e-3)


def test_flow_that_nothing_asks_for_costs_what_the_sparsity_says() -> None:
    frames = torch.full((1, 2, 64, 96, 1), 128, dtype=torch.uint8)
    moved, still = constant_flows(2, 0), constant_flows(0, 0)
    cost = [float(flow_loss(frames, moved, sparsity_weight=weight)[0]) for weight in (0.0, 0.05)]
    assert cost[0] == pytest.approx(float(flow_loss(frames, still)[0]), abs=1e-3)
    assert cost[1] - cost[0] == pytest.approx(4 * 0.05 * 1.0, abs=1e-4)  # mean of 2 and 0, 4 scales


def test_all_frames_of_a_clip_count() -> None:
    moving = as_frames(shifted_texture(4, 0))
    clip = torch.cat([moving, moving[:, 1:]], dim=1)  # moves, then stands still
    flows = [
        torch.cat([true, still], dim=1)
        for true, still in zip(constant_flows(4, 0), constant_flows(0, 0), strict=True)
    ]
    turned = [one.flip(1) for one in flows]
    assert flow_loss(clip, flows)[0] < flow_loss(clip, turned)[0]


@pytest.mark.parametrize(("x_px", "y_px"), [(2, 0), (0, -2), (-1, 1)])
def test_the_first_guess_of_a_flow_points_along_the_motion(x_px: int, y_px: int) -> None:
    pairs = shifted_texture(x_px, y_px)
    guess = normal_flow(pairs, 4, (16, 24)).mean(dim=(0, 2, 3))
    motion = torch.tensor([float(x_px), float(y_px)])
    assert torch.dot(guess, motion) > 0.3 * motion.square().sum()
    assert normal_flow(pairs[:, :1].expand(1, 2, 64, 96), 4, (16, 24)).abs().max() == 0


def test_the_network_learns_a_motion_without_labels() -> None:
    torch.manual_seed(0)
    network = RealtimeFlow(width=4)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    frames = as_frames(shifted_texture(3, 0)[:, :, :32, :48])
    first = None
    for _ in range(30):
        loss, _ = flow_loss(frames, network(frames))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first = loss.item() if first is None else first
    assert loss.item() < 0.8 * first
    x_px = network(frames)[0][:, 0, 0, 4:-4, 4:-4].median()
    assert 1.5 < x_px < 4.5


@pytest.mark.parametrize(("width_px", "height_px"), [(96, 64), (90, 70), (100, 66)])
def test_the_finest_flow_has_half_the_size_of_the_frames(width_px: int, height_px: int) -> None:
    frames = torch.zeros((3, 2, height_px, width_px, 3), dtype=torch.uint8)
    flows = RealtimeFlow().eval()(frames)
    assert flows[0].shape == (3, 1, 2, height_px // 2, width_px // 2)
    assert len(flows) == 4


def test_pairs_are_neighbors_in_time() -> None:
    frames = torch.from_numpy(np.arange(4, dtype=np.uint8)[None, :, None, None, None] * 51)
    pairs = gray_pairs(frames)
    assert pairs[:, :, 0, 0].tolist() == pytest.approx(
        np.array([[0, 0.2], [0.2, 0.4], [0.4, 0.6]]), abs=1e-6
    )
