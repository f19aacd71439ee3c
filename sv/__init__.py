"""Speaker verification with SphereFace2 and the losses it is compared with."""
