"""Quality scales of image coders."""

import pytest

from sarlab.peers.images import jpeg_setting


def test_jpeg_quality_is_continuous_in_the_step():
    # IJG: the step is proportional to 5000/q below 50 and to 200 − 2q above.
    for quality in (3.3, 12.0, 49.5, 50.0, 61.7, 88.2):
        level, gain = jpeg_setting(quality)
        scale = 5000 / level if level < 50 else 200 - 2 * level
        wanted = 5000 / quality if quality < 50 else 200 - 2 * quality
        assert scale / gain == pytest.approx(wanted)
