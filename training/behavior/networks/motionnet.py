"""MotionNet, the flow generator of preset `deg_m`."""

from torch import Tensor

from training.behavior.networks.base import FlowGenerator, Standardize
from training.behavior.networks.tiny_motionnet import (
    FLOWS,
    FRAMES,
    concatenate,
    conv,
    conv_linear,
    deconv,
    in_px,
    predict_flow,
    stack,
    upsampled_flow,
)


class MotionNet(FlowGenerator):
    """Eleven stacked frames to ten flows at 1/2, 1/4 and 1/8 of the size, seen down to 1/32.

    From the description by Bohnslav et al. 2021 (eLife 10:e63377), after Zhu et al. 2017 (arXiv
    1704.00389). Below the input, modules have the names that DeepEthogram's weights go by.

    Args:
        mean: of each color in the project's videos, in [0, 1].
        std: of each color in the project's videos, in [0, 1].
    """

    input_frames = FRAMES

    def __init__(self, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        super().__init__()
        self.standardize = Standardize(mean, std)
        self.conv1 = conv(3 * FRAMES, 64, 3)
        self.conv1_1 = conv(64, 64, 3)
        self.conv2 = conv(64, 128, 3, stride=2)
        self.conv2_1 = conv(128, 128, 3)
        self.conv3 = conv(128, 256, 3, stride=2)
        self.conv3_1 = conv(256, 256, 3)
        self.conv4 = conv(256, 512, 3, stride=2)
        self.conv4_1 = conv(512, 512, 3)
        self.conv5 = conv(512, 512, 3, stride=2)
        self.conv5_1 = conv(512, 512, 3)
        self.conv6 = conv(512, 1024, 3, stride=2)
        self.conv6_1 = conv(1024, 1024, 3)
        joined5, joined4 = 512 + 512 + 2 * FLOWS, 512 + 256 + 2 * FLOWS
        joined3, joined2 = 256 + 128 + 2 * FLOWS, 128 + 64 + 2 * FLOWS
        self.deconv5 = deconv(1024, 512)
        self.deconv4 = deconv(joined5, 256)
        self.deconv3 = deconv(joined4, 128)
        self.deconv2 = deconv(joined3, 64)
        self.xconv5 = conv_linear(joined5, 512)
        self.xconv4 = conv_linear(joined4, 256)
        self.xconv3 = conv_linear(joined3, 128)
        self.xconv2 = conv_linear(joined2, 64)
        self.predict_flow6 = predict_flow(1024)
        self.predict_flow5 = predict_flow(512)
        self.predict_flow4 = predict_flow(256)
        self.predict_flow3 = predict_flow(128)
        self.predict_flow2 = predict_flow(64)
        self.upsampled_flow6_to_5 = upsampled_flow()
        self.upsampled_flow5_to_4 = upsampled_flow()
        self.upsampled_flow4_to_3 = upsampled_flow()
        self.upsampled_flow3_to_2 = upsampled_flow()

    def forward(self, frames: Tensor) -> list[Tensor]:
        """See FlowGenerator."""
        maps = self.conv1_1(self.conv1(stack(self.standardize(frames))))
        skip2 = self.conv2_1(self.conv2(maps))
        skip3 = self.conv3_1(self.conv3(skip2))
        skip4 = self.conv4_1(self.conv4(skip3))
        skip5 = self.conv5_1(self.conv5(skip4))
        deepest = self.conv6_1(self.conv6(skip5))

        # What each level joins goes up to the next one as it is; xconv only reads it.
        raised = 2 * self.upsampled_flow6_to_5(self.predict_flow6(deepest))
        joined = concatenate(skip5, self.deconv5(deepest), raised)
        raised = 2 * self.upsampled_flow5_to_4(self.predict_flow5(self.xconv5(joined)))
        joined = concatenate(skip4, self.deconv4(joined), raised)
        flow4 = self.predict_flow4(self.xconv4(joined))
        raised = 2 * self.upsampled_flow4_to_3(flow4)
        joined = concatenate(skip3, self.deconv3(joined), raised)
        flow3 = self.predict_flow3(self.xconv3(joined))
        raised = 2 * self.upsampled_flow3_to_2(flow3)
        joined = concatenate(skip2, self.deconv2(joined), raised)
        flow2 = self.predict_flow2(self.xconv2(joined))
        return in_px(flow2, flow3, flow4)
