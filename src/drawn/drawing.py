"""A pen that draws smooth shapes, and the backgrounds against which the sample's animals stand.

Colours are (blue, green, red) in 0..255, as in OpenCV.
"""

from collections.abc import Sequence

import cv2
import numpy as np

Colour = tuple[float, float, float]
Coat = Sequence[Colour]  # the ground colour and, on animals, the colour of the markings

# fmt: off
SCENERY = [
    (214, 226, 236), (186, 206, 190), (220, 196, 170), (170, 190, 226), (150, 170, 150), (120, 140, 170),
    (196, 176, 196), (110, 120, 104), (140, 116, 92), (92, 104, 132), (180, 216, 226), (96, 150, 110),
    (90, 140, 190), (70, 106, 150), (60, 80, 110), (150, 190, 220), (110, 160, 170), (80, 90, 90),
]
TOYS = [(60, 60, 200), (200, 130, 60), (90, 170, 80), (60, 190, 235), (170, 80, 150), (235, 235, 235),
        (60, 50, 50)]
THINGS = ["ball", "box", "cushion", "flag", "plant", "sausage"]
RIM = 0.015  # width of the dark line around an object
# fmt: on


class Pen:
    """Draws anti-aliased shapes on a picture in ground colours and, if given, on one in marking colours."""

    def __init__(self, pictures: list[np.ndarray], matrix: np.ndarray):
        """Takes one or two pictures (height, width, 3) and the 2x3 matrix from the pen's units to pixels."""
        self.pictures = pictures
        self.matrix = matrix
        self.unit = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))  # in pixels

    def fill(self, points: np.ndarray, colours: Coat, rim: float = 0) -> None:
        """Fills a polygon; a darker rim of this width sets it off from what lies behind."""
        points = points @ self.matrix[:, :2].T + self.matrix[:, 2]
        corners = [np.rint(points * 16).astype(np.int32)]  # in sixteenths of a pixel: OpenCV's shift 4
        for picture, colour in zip(self.pictures, colours, strict=False):
            if rim:
                width = max(1, round(rim * self.unit))
                cv2.polylines(picture, corners, True, shade(colour, 0.6), width, cv2.LINE_AA, 4)
            cv2.fillPoly(picture, corners, colour, cv2.LINE_AA, 4)

    def oval(self, x: float, y: float, width: float, height: float, colours: Coat, rim: float = 0) -> None:
        """Fills an ellipse with this centre and these semi-axes."""
        turns = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        self.fill(point_to(turns) * (width, height) + (x, y), colours, rim)

    def stroke(self, points: list, start: float, end: float, colours: Coat, rim: float = 0) -> None:
        """Fills a round-ended curve near these points, whose half-width changes from start to end."""
        line = smooth(points, closed=False)
        along = np.gradient(line, axis=0)
        angles = np.arctan2(along[:, 1], along[:, 0])
        aside = point_to(angles + np.pi / 2) * np.linspace(start, end, len(line))[:, None]
        half = np.linspace(np.pi / 2, -np.pi / 2, 9)
        tip = line[-1] + end * point_to(angles[-1] + half)
        root = line[0] - start * point_to(angles[0] + half)
        self.fill(np.concatenate([line + aside, tip, (line - aside)[::-1], root]), colours, rim)


def point_to(angles: np.ndarray) -> np.ndarray:
    """Returns the unit vectors (x, y) in these directions, shape (angles, 2)."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def shade(colour: Colour, light: float) -> Colour:
    """Returns the colour, darker (light below 1) or lighter."""
    return tuple(min(255.0, float(part) * light) for part in colour)


def smooth(points: list, closed: bool = True) -> np.ndarray:
    """Returns the outline or line with its corners cut three times (Chaikin 1974)."""
    line = np.asarray(points, dtype=float)
    for _ in range(3):
        before, after = (line, np.roll(line, -1, axis=0)) if closed else (line[:-1], line[1:])
        cut = np.stack([0.75 * before + 0.25 * after, 0.25 * before + 0.75 * after], axis=1).reshape(-1, 2)
        line = cut if closed else np.concatenate([line[:1], cut, line[-1:]])
    return line


def pick(random: np.random.Generator, colours: list[Colour], light: float = 1.0) -> Colour:
    """Returns a random one of the colours, times `light`, up to 15 % darker or lighter."""
    return shade(colours[random.integers(len(colours))], light * random.uniform(0.85, 1.15))


def make_noise(random: np.random.Generator, height: int, width: int, cells: float) -> np.ndarray:
    """Returns smooth noise in 0..1, shape (height, width), with about `cells` bumps along the longer side."""
    step = max(height, width) / max(2.0, cells)
    grid = random.random((int(np.ceil(height / step)) + 2, int(np.ceil(width / step)) + 2), dtype=np.float32)
    size = (int(grid.shape[1] * step), int(grid.shape[0] * step))
    return np.clip(cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC)[:height, :width], 0, 1)


def draw_background(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Returns a wallpaper, a meadow, lights or a plain background, uint8, shape (height, width, 3)."""
    blend = make_noise(random, height, width, random.uniform(2, 6))[..., None]
    upper, lower = pick(random, SCENERY), pick(random, SCENERY, 0.85)
    picture = np.clip(upper * (0.9 + 0.2 * blend), 0, 255).astype(np.uint8)
    side = max(height, width)
    pen = Pen([picture], np.array([[side, 0, 0], [0, side, 0]], dtype=float))
    right, bottom = width / side, height / side
    kind = random.choice(["wallpaper", "meadow", "lights", "plain"], p=[0.3, 0.3, 0.2, 0.2])
    other = pick(random, SCENERY)
    if kind == "lights":
        for _ in range(random.integers(8, 22)):
            radius, colour = random.uniform(0.02, 0.1), pick(random, SCENERY)
            pen.oval(random.uniform(0, right), random.uniform(0, bottom), radius, radius, [colour])
    if kind == "wallpaper":
        pitch, lean = random.uniform(0.06, 0.16), random.uniform(-0.2, 0.2)
        for x in np.arange(-0.2, right + 0.2, pitch):
            pen.stroke([(x, 0), (x + lean, bottom)], pitch / 4, pitch / 4, [other])
    horizon = bottom * random.uniform(0.45, 0.85)
    if kind != "lights":
        tilt = random.uniform(-0.05, 0.05) * (kind == "meadow")
        hills = [(-1, horizon), (0.3, horizon - tilt), (0.7, horizon + tilt), (2, horizon)]
        pen.fill(smooth([*hills, (2, 2), (-1, 2)]), [lower])
    if kind == "meadow":
        for _ in range(random.integers(10, 40)):
            draw_blade(random, pen, random.uniform(0, right), random.uniform(horizon, bottom + 0.05), lower)
    for _ in range(random.integers(0, 5)):
        draw_thing(random, pen, random.uniform(0, right), random.uniform(0.05, bottom))
    return picture


def draw_blade(random: np.random.Generator, pen: Pen, x: float, y: float, ground: Colour) -> None:
    """Draws a blade of grass."""
    colour = shade(ground, random.uniform(0.7, 1.25))
    height, lean = random.uniform(0.04, 0.12), random.uniform(-0.05, 0.05)
    pen.stroke([(x, y), (x, y - height / 2), (x + lean, y - height)], 0.006, 0.001, [colour])


def draw_thing(random: np.random.Generator, pen: Pen, x: float, y: float) -> None:
    """Draws one of the `THINGS`, of which some are pointed, some round, some long, as animals' parts are."""
    size, place = random.uniform(0.04, 0.12), np.array([x, y])
    colours, others = [pick(random, TOYS + SCENERY)], [pick(random, TOYS + SCENERY)]
    kind = THINGS[random.integers(len(THINGS))]
    if kind == "ball":
        pen.oval(x, y, size, size, colours, rim=RIM)
        pen.oval(x - 0.3 * size, y - 0.3 * size, 0.3 * size, 0.3 * size, others)
    elif kind == "box":
        tall = size * random.uniform(0.5, 1.6)
        corners = np.array([(-size, -tall), (size, -tall), (size, tall), (-size, tall)])
        pen.fill(corners + place, colours, rim=RIM)
        pen.fill(0.7 * corners + place, others)
    elif kind == "cushion":
        # A corner that is given twice is cut less.
        top, bottom = [(-1, -1), (-1, -1), (0, -0.7), (1, -1), (1, -1)], [(1, 1), (1, 1), (-1, 1), (-1, 1)]
        corners = [*top, (0.8, 0), *bottom]
        pen.fill(smooth(size * np.array(corners) + place), colours, rim=RIM)
    elif kind == "flag":
        up = random.choice([-1, 1])
        pen.fill(size * np.array([(-0.7, -up), (0.7, -up), (0, up)]) + place, colours, rim=RIM)
    elif kind == "plant":
        for lean in np.linspace(-1, 1, 5):
            leaf = size * np.array([(0, 0), (lean, -1), (1.4 * lean, -1.5)]) + place
            pen.stroke(leaf, 0.25 * size, 0.02 * size, colours, rim=RIM)
        pot = size * np.array([(-0.5, 0), (0.5, 0), (0.35, 0.8), (-0.35, 0.8)]) + place
        pen.fill(pot, others, rim=RIM)
    else:
        angle = random.uniform(0, np.pi)
        reach = 1.3 * size * np.array([np.cos(angle), np.sin(angle)])
        pen.stroke([place - reach, place, place + reach], 0.4 * size, 0.4 * size, colours, rim=RIM)


def develop(random: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Returns the picture as a camera might take it: with a light gradient, a colour cast, blur and grain."""
    height, width = picture.shape[:2]
    across, down = random.uniform(-0.25, 0.25, 2)
    light = 1 + across * np.linspace(-1, 1, width)[None, :] + down * np.linspace(-1, 1, height)[:, None]
    cast = random.uniform(0.68, 1.02) * random.uniform(0.93, 1.07, 3)
    if random.random() < 0.2:
        picture = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.5, 1.2))
    grain = random.standard_normal((height, width, 1), dtype=np.float32) * random.uniform(0, 5)
    return np.clip(picture * (light[..., None] * cast).astype(np.float32) + grain, 0, 255).astype(np.uint8)
