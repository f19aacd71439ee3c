"""Synthetic rooms: where the image method puts sound, and how long it rings.

local/rooms.py loads scipy.signal: a second, which a worker that only collects the tests should not take.
"""

import numpy as np
import pytest

from tests.local.noise_files import RATE


def test_the_image_method_puts_sound_where_geometry_says():
    from local.rooms import SPEED_OF_SOUND, Room, reflections

    source, microphone = np.array([1.0, 1.7, 1.2]), np.array([3.1, 2.4, 1.6])
    room = Room(np.array([5.0, 4.3, 3.0]), source, microphone, 0.3)
    rir = reflections(room, RATE)

    def heard(place: np.ndarray) -> tuple[float, float]:
        """Distance of a source at a place, and what arrives from there."""
        distance = float(np.linalg.norm(place - microphone))
        tap = int(distance / SPEED_OF_SOUND * RATE)
        return distance, float(rir[tap : tap + 2].sum())

    direct, height = heard(source)
    before = rir[: int(direct / SPEED_OF_SOUND * RATE)]
    assert not before.any() and height == pytest.approx(1 / direct)
    images = source * [1, 1, -1], source * [1, -1, 1], source * [1, -1, -1]  # behind the floor, a wall, both
    floor, wall, both = (distance * height for distance, height in map(heard, images))
    assert 0 < floor < 1 and floor == pytest.approx(wall) and both == pytest.approx(floor * wall)


@pytest.mark.slow
def test_rooms_decay_as_they_are_asked_to():
    """Reverberation time by a line through Schroeder's backward integral, -5 to -25 dB, against the one asked for."""
    from local.rooms import draw_room, impulse_response

    found = []
    for number in range(1, 41):
        room = draw_room(np.random.default_rng([1, number]))
        rir = impulse_response(room, RATE).astype(np.float64)
        left = 10 * np.log10(np.cumsum(rir[::-1] ** 2)[::-1] / np.sum(rir**2))
        fitted = np.arange(np.argmax(left < -5), np.argmax(left < -25))
        found.append(-60 / np.polyfit(fitted / RATE, left[fitted], 1)[0] / room.rt60)
    assert np.median(found) == pytest.approx(1, abs=0.03)
    assert min(found) > 0.9 and max(found) < 1.3
