"""Impulse responses of empty rooms, by the image method.

Allen and Berkley, "Image method for efficiently simulating small-room acoustics", JASA 65(4), 1979. An image that
arrives between two samples is split between them. A high-pass removes the energy that the method adds up near 0 Hz.

All walls have the same reflection, chosen so that the energy of the images decays within the reverberation time.
Eyring's formula, which assumes a diffuse field, gives too much: in a box, sound between the two walls farthest apart
is reflected least often and lasts longest (Lehmann and Johansson, "Prediction of energy decay in room impulse responses
simulated with an image-source model", JASA 124(1), 2008).
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

SPEED_OF_SOUND = 343.0  # m/s
_HIGH_PASS_HZ = 50.0
_BINS = 400  # time steps of the energy decay within the reverberation time
_HALVINGS = 30  # steps of the search for the reflection

Vector = NDArray[np.float64]  # (3,) in m


@dataclass(frozen=True)
class Room:
    """A room with a speaker and a microphone.

    Attributes:
        size: lengths of its edges.
        source, microphone: their positions, from one corner.
        rt60: seconds in which the reflected sound decays by 60 dB, extrapolated from -5 to -25 dB (T20).
    """

    size: Vector
    source: Vector
    microphone: Vector
    rt60: float


def draw_room(rng: Generator) -> Room:
    """Draw a room between a closet and a small hall, with speaker and microphone at least 0.3 m from the walls."""
    size = rng.uniform([2.5, 2.0, 2.3], [10.0, 8.0, 4.0])
    source, microphone = (rng.uniform(0.3, size - 0.3) for _ in range(2))
    while np.linalg.norm(source - microphone) < 0.2:
        microphone = rng.uniform(0.3, size - 0.3)
    return Room(size, source, microphone, float(rng.uniform(0.15, 0.8)))


def _solve(room: Room, distance: NDArray[np.float64], order: NDArray[np.int64]) -> float:
    """Find the fraction of the pressure that a wall reflects, by halving the range from 0 to Eyring's.

    With it the sound decays in the room's reverberation time.
    """
    met = order > 0  # without the direct sound, which is loud at short distances
    bins = (distance[met] * (_BINS / (SPEED_OF_SOUND * room.rt60))).astype(np.int64)
    orders = int(order.max()) + 1
    energy = np.bincount(bins * orders + order[met], 1 / distance[met] ** 2, _BINS * orders).reshape(_BINS, orders)
    low, high = 0.0, _eyring(room)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        left = np.cumsum((energy @ middle ** (2.0 * np.arange(orders)))[::-1])  # Schroeder's backward integral
        if _seconds(left[::-1], room.rt60 / _BINS) < room.rt60:
            low = middle
        else:
            high = middle
    return high


def _seconds(left: NDArray[np.float64], step_s: float) -> float:
    """Return seconds for a decay of 60 dB: three times those from -5 to -25 dB. `left`: energy left at each step."""
    left_db = 10 * np.log10(np.maximum(left / left[0], 1e-30))
    early, late = np.interp([5.0, 25.0], -left_db, step_s * np.arange(len(left)))
    return float(3 * (late - early))


def _eyring(room: Room) -> float:
    """Return the reflection by Eyring's rt60 = 0.161 V / (-S ln(1 - absorption))."""
    x, y, z = room.size
    surface = 2 * (x * y + y * z + x * z)
    return float(np.exp(-0.5 * 0.161 * x * y * z / (surface * room.rt60)))


def impulse_response(room: Room, sample_rate: int) -> NDArray[np.float32]:
    """Return the impulse response, (samples,) float32, rt60 seconds long."""
    high_pass = butter(2, _HIGH_PASS_HZ, "high", fs=sample_rate, output="sos")
    filtered: NDArray[np.float64] = sosfilt(high_pass, reflections(room, sample_rate))
    return filtered.astype(np.float32)


def reflections(room: Room, sample_rate: int) -> NDArray[np.float64]:
    """Return the impulse response before the high-pass; the direct sound has the height 1 / distance in m."""
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
    """Return the distance of each image that is heard within rt60, and its number of reflections."""
    reach = SPEED_OF_SOUND * room.rt60
    axes = [_along(*edge, reach) for edge in zip(room.size, room.source, room.microphone, strict=True)]
    (x, x_order), (y, y_order), (z, z_order) = axes
    distance = np.sqrt(x[:, None, None] ** 2 + y[None, :, None] ** 2 + z**2)
    order = x_order[:, None, None] + y_order[None, :, None] + z_order
    heard = distance < reach
    return distance[heard], order[heard]


def _along(edge: float, source: float, microphone: float, reach: float) -> tuple[Vector, NDArray[np.int64]]:
    """Return, along one axis, each image's offset from the microphone and its number of reflections."""
    most = int(np.ceil(reach / (2 * edge))) + 1
    number = np.arange(-most, most + 1)
    ways = [(1 - 2 * mirrored) * source + 2 * number * edge - microphone for mirrored in (0, 1)]
    orders = [np.abs(number - mirrored) + np.abs(number) for mirrored in (0, 1)]
    return np.concatenate(ways), np.concatenate(orders)
