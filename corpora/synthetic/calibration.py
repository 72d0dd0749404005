"""Which point of our own head each landmark index means: one fixed table for every identity, pose and mouth.

A landmarker's index has no definition but what its makers drew, so the table was fitted: starting from the anatomical place
(eye corner, lip edge, tip of the nose), each point was moved over the surface by the median difference to MediaPipe's
FaceLandmarker on 306 renders of 18 identities (seeds 0 to 17; `bench/realism.py` measures on others, from 1000), both sides of
the face made equal. It is a constant of the instrument: nothing is fitted to an identity or a frame. Points along the outline
of cheeks and jaw are left out, because a landmarker puts them on the visible outline, which is no fixed point of a turning
head. Point 1, under the tip of the nose, was set by hand: the surface there is too steep for the fit.

Entries: index -> (x, y) in millimetres on the nominal head seen from the front (see `mesh`), and the side of an opening that
the point belongs to ("upper" or "lower" lip or lid; "" where there is none). The chin's middle lies a little above the jaw's
lowest edge.
"""

from __future__ import annotations

_LEFT: dict[tuple[int, int], tuple[float, float, str]] = {  # (index left in the image, its mirror image): place of the left one
    # lids and eye corners
    (33, 263): (-43.7, 0.0, "upper"), (133, 362): (-15.9, 0.0, "upper"), (160, 387): (-37.4, -0.9, "upper"),
    (159, 386): (-32.4, -1.0, "upper"), (158, 385): (-27.0, -0.8, "upper"), (144, 373): (-35.9, 0.5, "lower"),
    (145, 374): (-30.7, 0.4, "lower"), (153, 380): (-25.5, 0.0, "lower"),
    # brows, upper and lower edge
    (70, 300): (-57.6, -17.2, ""), (63, 293): (-51.6, -22.3, ""), (105, 334): (-42.0, -24.7, ""), (66, 296): (-29.3, -23.8, ""),
    (107, 336): (-14.8, -21.7, ""), (46, 276): (-54.0, -13.8, ""), (53, 283): (-48.1, -17.8, ""), (52, 282): (-39.6, -19.3, ""),
    (65, 295): (-28.1, -18.2, ""), (55, 285): (-12.8, -13.9, ""),
    # wings of the nose, cheeks
    (98, 327): (-15.1, 43.3, ""), (64, 294): (-17.0, 39.9, ""), (48, 278): (-16.8, 37.3, ""), (50, 280): (-46.6, 31.6, ""),
    (205, 425): (-38.2, 40.4, ""),
    # outer edge of the lips
    (61, 291): (-25.4, 65.0, "upper"), (40, 270): (-19.6, 61.1, ""), (39, 269): (-14.7, 59.1, ""), (37, 267): (-7.5, 56.6, ""),
    (84, 314): (-7.5, 74.3, ""), (181, 405): (-14.2, 72.6, ""), (91, 321): (-19.4, 69.7, ""),
    # inner edge of the lips
    (78, 308): (-23.1, 65.0, "upper"), (80, 310): (-15.9, 65.0, "upper"), (81, 311): (-11.4, 64.9, "upper"),
    (82, 312): (-6.1, 64.2, "upper"), (88, 318): (-16.0, 65.0, "lower"), (178, 402): (-11.5, 65.0, "lower"),
    (87, 317): (-6.0, 65.0, "lower"),
    # chin
    (148, 377): (-11.9, 106.6, ""), (176, 400): (-21.0, 103.0, ""),
}
_MIDDLE: dict[int, tuple[float, float, str]] = {
    151: (0, -34.8, ""), 9: (0, -19.8, ""), 8: (0, -11.7, ""), 168: (0, -3.4, ""), 6: (0, 4.7, ""), 197: (0, 12.0, ""),
    195: (0, 18.3, ""), 5: (0, 25.2, ""), 4: (0, 33.3, ""), 1: (0, 36.5, ""), 2: (0, 45.0, ""), 0: (0, 57.1, ""), 13: (0, 63.2,
                                                                                                                       "upper"),
    14: (0, 65.0, "lower"), 17: (0, 74.8, ""), 18: (0, 81.7, ""), 152: (0, 107.4, ""),
}
LANDMARKS: dict[int, tuple[float, float, str]] = {
    index: place for (left, right), (x, y, side) in _LEFT.items() for index, place in ((left, (x, y, side)), (right, (-x, y,
                                                                                                                      side)))
} | _MIDDLE
