import pytest

from service.errors import EngineUnavailable
from training.frames.extras import analysis_module


def test_a_missing_library_is_named_with_what_installs_it():
    with pytest.raises(EngineUnavailable, match=r"kmeans needs sklearnt, .*--extra analysis"):
        analysis_module("sklearnt.cluster", "method kmeans")
    assert analysis_module("json", "nothing").loads("3") == 3
