"""Speaker verification with SphereFace2 and the losses it is compared with.

`sv.Verifier` says of two recordings whether they are of one speaker.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sv.verifier import Verifier

__all__ = ["Verifier"]


def __getattr__(name: str) -> object:
    """Import the verifier, and torch with it, when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'sv' has no attribute {name!r}")
    from sv.verifier import Verifier

    return Verifier
