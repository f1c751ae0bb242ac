import math

import numpy as np
import pytest
import torch
from torch import Tensor

from training.behavior.networks.base import WindowSequence
from training.behavior.networks.tgm import ConvSequence, LinearSequence, Tgm

pytestmark = pytest.mark.needs_train

D, K = 12, 3
MODELS = (Tgm, ConvSequence, LinearSequence)
KEYS = {
    "tgm_layers.0.center": (8,),
    "tgm_layers.0.gamma": (8,),
    "tgm_layers.0.soft_attn": (8, 8),
    "tgm_layers.1.soft_attn": (64, 8),
    "tgm_layers.1.cls_attn": (1, 8, 8, 1, 1),
    "tgm_layers.2.cls_attn": (1, 8, 8, 1, 1),
    "h.weight": (128, 1024, 1),
    "h.bias": (128,),
    "classify1.0.weight": (K, 128, 1),
    "classify1.1.weight": (K,),
    "classify1.1.bias": (K,),
    "classify1.1.running_mean": (K,),
    "classify1.1.running_var": (K,),
    "classify1.1.num_batches_tracked": (),
    "classify2.0.weight": (K, 128, 1),
    "classify2.1.running_var": (K,),
}


def make_model(model: type[WindowSequence], **arguments: float) -> WindowSequence:
    """One whose weights are large enough to show, and whose statistics are not the first ones."""
    torch.manual_seed(5)
    sequence = model(K, feature_size=D, **arguments)
    with torch.no_grad():
        for parameter in sequence.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        for _ in range(5):
            sequence(torch.randn(2, 60, D), torch.ones(2, 60))
    return sequence.eval()


def in_windows(model: WindowSequence, features: Tensor) -> Tensor:
    """Logits (T, K) of one recording (T, D), each frame in a window of its own."""
    past, future = model.past_frames, model.future_frames
    windows, valid = [], []
    for frame in range(len(features)):
        numbers = torch.arange(frame - past, frame + future + 1)
        inside = (numbers >= 0) & (numbers < len(features))
        window = features[numbers.clamp(0, len(features) - 1)].clone()
        window[~inside] = math.nan  # whatever stands there must not count
        windows.append(window)
        valid.append(inside.float())
    with torch.no_grad():
        return model(torch.stack(windows), torch.stack(valid))[:, past]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("frames", [70, 9, 1])
def test_a_window_gives_what_the_whole_recording_gives(
    model: type[WindowSequence], frames: int
) -> None:
    sequence = make_model(model)
    features = torch.randn(frames, D)
    with torch.no_grad():
        whole = sequence(features[None], torch.ones(1, frames))[0]
    assert whole.shape == (frames, K)
    assert (in_windows(sequence, features) - whole).abs().max() <= 1e-5


@pytest.mark.parametrize("model", MODELS)
def test_a_padded_recording_gives_what_it_gives_alone(model: type[WindowSequence]) -> None:
    sequence = make_model(model)
    features = torch.randn(1, 50, D)
    valid = torch.zeros(1, 50)
    valid[:, 10:37] = 1
    with torch.no_grad():
        padded = sequence(features, valid)
        alone = sequence(features[:, 10:37], torch.ones(1, 27))
    assert (padded[:, 10:37] - alone).abs().max() <= 1e-5


@pytest.mark.parametrize("model", MODELS)
def test_a_frame_sees_as_far_as_the_model_says(model: type[WindowSequence]) -> None:
    sequence = make_model(model)
    features = torch.randn(1, 80, D)
    changed = features.clone()
    changed[:, 40] += 100.0
    valid = torch.ones(1, 80)
    with torch.no_grad():
        differs = (sequence(features, valid) != sequence(changed, valid)).any(dim=2)[0]
    seen = differs.nonzero().flatten()
    assert int(seen.min()) == 40 - sequence.future_frames
    assert int(seen.max()) == 40 + sequence.past_frames


def test_the_mixture_looks_at_43_frames() -> None:
    assert (Tgm.past_frames, Tgm.future_frames) == (21, 21)


def test_its_tensors_have_the_published_names_and_shapes() -> None:
    tensors = Tgm(K).state_dict()
    assert {name: tuple(tensors[name].shape) for name in KEYS} == KEYS
    assert not any(name.startswith("h2") or name.endswith("delta") for name in tensors)


def test_it_has_the_parameters_that_the_paper_counts() -> None:
    """The paper's text says about 264,000; it counts the unused layer and shifts, too."""
    unused = 128 * 1024 + 128 + 3 * 8
    count = sum(parameter.numel() for parameter in Tgm(K).parameters()) + unused
    assert count == pytest.approx(264_000, rel=0.005)


def test_the_two_last_layers_share_their_bias() -> None:
    model = make_model(Tgm)
    model.start_at(torch.tensor([1.0, 2.0, 3.0]))
    assert model.classify2[1].bias.tolist() == [1.0, 2.0, 3.0]
    assert model.classify1[1].bias is model.classify2[1].bias


@pytest.mark.parametrize("model", MODELS)
def test_a_start_bias_reaches_the_logits_as_it_is(model: type[WindowSequence]) -> None:
    sequence = make_model(model)
    features, valid = torch.randn(1, 30, D), torch.ones(1, 30)
    bias = torch.tensor([-2.0, 0.0, 1.5])
    with torch.no_grad():
        sequence.start_at(torch.zeros(K))
        before = sequence(features, valid)
        sequence.start_at(bias)
        after = sequence(features, valid)
    assert torch.allclose(after - before, bias.expand_as(after), atol=1e-5)


def test_each_temporal_layer_is_the_mixture_of_the_paper() -> None:
    """Filter by filter, copy by copy, in float64; the layer does it in one convolution."""
    torch.manual_seed(6)
    layer = make_model(Tgm).tgm_layers[1]
    stack = torch.randn(1, 8, 2, 40)
    with torch.no_grad():
        answer = layer(stack)[0].numpy()

    values = {name: tensor.numpy().astype(float) for name, tensor in layer.state_dict().items()}
    filters = []
    for center, gamma in zip(values["center"], values["gamma"], strict=True):
        middle = 14 * (math.tanh(center) + 1) / 2
        width = math.exp(1.5 - 2 * abs(math.tanh(gamma)))
        bump = [1 / (math.pi * width * (((t - middle) / width) ** 2 + 1)) for t in range(15)]
        filters.append(np.array(bump) / sum(bump))
    padded = np.pad(stack[0].numpy().astype(float), ((0, 0), (0, 0), (7, 7)))
    for after in range(8):
        shares = np.exp(values["cls_attn"][0, after, :, 0, 0])
        shares /= shares.sum()
        expected = np.zeros((2, 40))
        for before in range(8):
            mix = np.exp(values["soft_attn"][after * 8 + before])
            kernel = (mix / mix.sum()) @ np.array(filters)
            for feature in range(2):
                smoothed = np.correlate(padded[before, feature], kernel, mode="valid")
                expected[feature] += shares[before] * smoothed
        assert np.abs(answer[after] - expected).max() <= 1e-5


def test_padding_does_not_change_the_statistics_of_training() -> None:
    kept = []
    for before, after in ((0, 0), (30, 50)):
        model = make_model(Tgm, input_dropout=0.0, dropout_p=0.0).train()
        torch.manual_seed(7)
        features = torch.nn.functional.pad(torch.randn(2, 40, D), (0, 0, before, after), value=9.0)
        valid = torch.zeros(2, before + 40 + after)
        valid[:, before : before + 40] = 1
        logits = model(features, valid)[:, before : before + 40]
        kept.append((logits, model.classify2[1].running_mean, model.classify1[1].running_var))
    for alone, padded in zip(*kept, strict=True):
        assert torch.allclose(alone, padded, atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_training_reaches_every_parameter(model: type[WindowSequence]) -> None:
    sequence = make_model(model).train()
    logits = sequence(torch.randn(2, 60, D), torch.ones(2, 60))
    (logits * torch.randn_like(logits)).sum().backward()
    for name, parameter in sequence.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("model", MODELS)
def test_the_exported_graph_takes_any_number_of_windows_and_frames(
    model: type[WindowSequence], compare_graph
) -> None:
    sequence = make_model(model)
    examples = [torch.randn(2, 43, D), torch.ones(2, 43)]
    valid = torch.ones(3, 61)
    valid[0, :20] = 0
    valid[1, 50:] = 0
    axes = [{0: "batch", 1: "frames"}] * 2
    assert compare_graph(sequence, examples, axes, [torch.randn(3, 61, D), valid]) <= 1e-4
