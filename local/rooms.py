"""Impulse responses of empty rooms, by images of the source behind all walls.

Allen and Berkley, "Image method for efficiently simulating small-room acoustics", JASA 65(4), 1979, with walls of one
reflection coefficient, which Eyring's formula gives for a reverberation time; an image between two samples is shared by
them. A high-pass takes out what adds up below the hearing of rooms.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

SPEED_OF_SOUND = 343.0  # m/s
_HIGH_PASS_HZ = 50.0

Vector = NDArray[np.float64]  # (3,) in m


@dataclass(frozen=True)
class Room:
    """A room with someone who speaks and a microphone.

    Attributes:
        size: edges.
        source, microphone: from one corner.
        rt60: seconds after which the sound is 60 dB down.
    """

    size: Vector
    source: Vector
    microphone: Vector
    rt60: float


def draw_room(rng: Generator) -> Room:
    """A room between a closet and a small hall; speaker and microphone at least 0.3 m from the walls."""
    size = rng.uniform([2.5, 2.0, 2.3], [10.0, 8.0, 4.0])
    source, microphone = (rng.uniform(0.3, size - 0.3) for _ in range(2))
    while np.linalg.norm(source - microphone) < 0.2:
        microphone = rng.uniform(0.3, size - 0.3)
    return Room(size, source, microphone, float(rng.uniform(0.15, 0.8)))


def reflection(room: Room) -> float:
    """Pressure reflected by a wall, 0 to 1, by Eyring's formula: rt60 = 0.161 V / (-S ln(1 - absorption))."""
    x, y, z = room.size
    surface = 2 * (x * y + y * z + x * z)
    return float(np.exp(-0.5 * 0.161 * x * y * z / (surface * room.rt60)))


def impulse_response(room: Room, sample_rate: int) -> NDArray[np.float32]:
    """(samples,) float32, rt60 seconds long."""
    high_pass = butter(2, _HIGH_PASS_HZ, "high", fs=sample_rate, output="sos")
    filtered: NDArray[np.float64] = sosfilt(high_pass, reflections(room, sample_rate))
    return filtered.astype(np.float32)


def reflections(room: Room, sample_rate: int) -> NDArray[np.float64]:
    """The same before the high-pass: the direct sound has 1 / distance in m as its height."""
    reach = SPEED_OF_SOUND * room.rt60
    axes = [_images(*edge, reach) for edge in zip(room.size, room.source, room.microphone, strict=True)]
    (x, x_order), (y, y_order), (z, z_order) = axes
    distance = np.sqrt(x[:, None, None] ** 2 + y[None, :, None] ** 2 + z**2)
    order = x_order[:, None, None] + y_order[None, :, None] + z_order
    heard = distance < reach
    distance, order = distance[heard], order[heard]
    height = reflection(room) ** order / distance
    place = distance * (sample_rate / SPEED_OF_SOUND)
    sample = place.astype(np.int64)
    length = int(reach * sample_rate / SPEED_OF_SOUND) + 2
    rir: NDArray[np.float64] = np.zeros(length)
    rir += np.bincount(sample, height * (1 - place + sample), length)
    rir += np.bincount(sample + 1, height * (place - sample), length)
    return rir


def _images(edge: float, source: float, microphone: float, reach: float) -> tuple[Vector, NDArray[np.int64]]:
    """Along one axis: way of each image of the source to the microphone, and how many walls it met."""
    most = int(np.ceil(reach / (2 * edge))) + 1
    number = np.arange(-most, most + 1)
    ways = [(1 - 2 * mirrored) * source + 2 * number * edge - microphone for mirrored in (0, 1)]
    orders = [np.abs(number - mirrored) + np.abs(number) for mirrored in (0, 1)]
    return np.concatenate(ways), np.concatenate(orders)
