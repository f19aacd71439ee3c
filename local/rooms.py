"""Impulse responses of empty rooms, by images of the source behind all walls.

Allen and Berkley, "Image method for efficiently simulating small-room acoustics", JASA 65(4), 1979; an image between
two samples is shared by them. A high-pass takes out what adds up below the hearing of rooms.

All walls reflect alike, by as much as the energies of the images need to decay within the reverberation time. Eyring's
formula, which takes sound for coming from all sides alike, gives too much: in a box, what runs between the walls
farthest apart meets the fewest of them and lasts (Lehmann and Johansson, "Prediction of energy decay in room impulse
responses simulated with an image-source model", JASA 124(1), 2008).
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

SPEED_OF_SOUND = 343.0  # m/s
_HIGH_PASS_HZ = 50.0
_BINS = 400  # of the energy decay, over the reverberation time
_HALVINGS = 30  # of the range in which the reflection lies

Vector = NDArray[np.float64]  # (3,) in m


@dataclass(frozen=True)
class Room:
    """A room with someone who speaks and a microphone.

    Attributes:
        size: edges.
        source, microphone: from one corner.
        rt60: seconds in which the reflected sound decays by 60 dB, at the pace it has between -5 and -25 dB.
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
    """Pressure reflected by a wall, 0 to 1."""
    return _solve(room, *_images(room))


def _solve(room: Room, distance: NDArray[np.float64], order: NDArray[np.int64]) -> float:
    """The reflection with which the images decay as they are to; below Eyring's, which is where the search begins."""
    met = order > 0  # not the direct sound, which is loud close by
    bins = (distance[met] * (_BINS / (SPEED_OF_SOUND * room.rt60))).astype(np.int64)
    orders = int(order.max()) + 1
    energy = np.bincount(bins * orders + order[met], 1 / distance[met] ** 2, _BINS * orders).reshape(_BINS, orders)
    low, high = 0.0, _eyring(room)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        left = np.cumsum((energy @ middle ** (2.0 * np.arange(orders)))[::-1])  # Schroeder's integral, backward
        if _seconds(left[::-1], room.rt60 / _BINS) < room.rt60:
            low = middle
        else:
            high = middle
    return high


def _seconds(left: NDArray[np.float64], step_s: float) -> float:
    """Seconds for 60 dB, from the energies that are left at the beginning of each step: -5 to -25 dB, three times."""
    left_db = 10 * np.log10(np.maximum(left / left[0], 1e-30))
    early, late = np.interp([5.0, 25.0], -left_db, step_s * np.arange(len(left)))
    return float(3 * (late - early))


def _eyring(room: Room) -> float:
    """By rt60 = 0.161 V / (-S ln(1 - absorption))."""
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
    distance, order = _images(room)
    height = _solve(room, distance, order) ** order / distance
    place = distance * (sample_rate / SPEED_OF_SOUND)
    sample = place.astype(np.int64)
    length = int(room.rt60 * sample_rate) + 2
    rir: NDArray[np.float64] = np.zeros(length)
    rir += np.bincount(sample, height * (1 - place + sample), length)
    rir += np.bincount(sample + 1, height * (place - sample), length)
    return rir


def _images(room: Room) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distance of each image that is heard within rt60, and how many walls it met."""
    reach = SPEED_OF_SOUND * room.rt60
    axes = [_along(*edge, reach) for edge in zip(room.size, room.source, room.microphone, strict=True)]
    (x, x_order), (y, y_order), (z, z_order) = axes
    distance = np.sqrt(x[:, None, None] ** 2 + y[None, :, None] ** 2 + z**2)
    order = x_order[:, None, None] + y_order[None, :, None] + z_order
    heard = distance < reach
    return distance[heard], order[heard]


def _along(edge: float, source: float, microphone: float, reach: float) -> tuple[Vector, NDArray[np.int64]]:
    """Along one axis: way of each image of the source to the microphone, and how many walls it met."""
    most = int(np.ceil(reach / (2 * edge))) + 1
    number = np.arange(-most, most + 1)
    ways = [(1 - 2 * mirrored) * source + 2 * number * edge - microphone for mirrored in (0, 1)]
    orders = [np.abs(number - mirrored) + np.abs(number) for mirrored in (0, 1)]
    return np.concatenate(ways), np.concatenate(orders)
