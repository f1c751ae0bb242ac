import numpy as np

from service.video.pyav import VideoFile
from training.frames.shots import read_shots


def test_frames_come_in_order_each_once_whatever_was_asked(recorded):
    wanted = [41, 3, 3, 40, 59, 1000]
    video = VideoFile(recorded.video)
    read = []
    for shot in read_shots(video, wanted):
        read.append(shot.frame_index)
        np.testing.assert_array_equal(shot.pixels, recorded.frames[shot.frame_index])
        assert abs(shot.time_s - shot.frame_index / 30) < 0.002
    assert read == [3, 40, 41, 59]
    assert list(read_shots(video, [])) == []


def test_far_frames_are_sought_and_exact(tmp_path, make_scenes):
    levels = list(range(20, 240, 5))
    video = VideoFile(make_scenes(tmp_path / "long.avi", levels))
    wanted = [5, 320, 321, 650]
    means = [float(shot.pixels.mean()) for shot in read_shots(video, wanted)]
    np.testing.assert_allclose(means, [levels[index // 15] for index in wanted], atol=3)


def test_a_damaged_frame_has_no_pixels_and_those_after_it_have(scenes, damage_frames):
    damage_frames(scenes, [17])
    shots = list(read_shots(VideoFile(scenes), [16, 17, 18]))
    assert [shot.frame_index for shot in shots] == [16, 17, 18]
    assert [shot.pixels is None for shot in shots] == [False, True, False]
