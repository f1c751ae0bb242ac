import pytest
import torch
from torch import nn

from export.importers.group_norm import ChannelGroupNorm

pytestmark = pytest.mark.needs_train


@pytest.mark.parametrize(("channels", "groups"), [(64, 32), (12, 3), (8, 8), (6, 1)])
def test_it_computes_what_group_norm_computes_with_the_same_state(
    channels: int, groups: int
) -> None:
    random = torch.Generator().manual_seed(1)
    wanted = nn.GroupNorm(groups, channels)
    nn.init.normal_(wanted.weight, 1, 0.5, generator=random)
    nn.init.normal_(wanted.bias, generator=random)
    found = ChannelGroupNorm(channels, groups)
    found.load_state_dict(wanted.state_dict(), strict=True)
    maps = 3 * torch.randn(2, channels, 5, 7, generator=random) + 10
    with torch.no_grad():
        torch.testing.assert_close(found(maps), wanted(maps), rtol=1e-4, atol=1e-4)
