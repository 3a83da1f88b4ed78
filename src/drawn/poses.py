"""Draws the bodies of cats and dogs, in poses common to both, and places the whole animal in a picture.

Lengths are in head radii; the head's centre is (0, 0), x points right and y down.
"""

import numpy as np

from src.drawn.animals import RIM, Animal, draw_front_head, draw_side_head, make_animal, make_markings, shaded
from src.drawn.drawing import Pen, smooth


def draw_leg(pen: Pen, animal: Animal, x: float, top: float, floor: float, light: float = 1.0) -> None:
    """Draws a leg and its paw."""
    width = 0.27 if animal.is_dog else 0.22
    pen.stroke([(x, top), (x, floor - 0.12)], width, width * 0.85, shaded(animal.coat, light), rim=RIM)
    pen.oval(x + 0.08, floor - 0.12, 0.3, 0.18, shaded(animal.light, light), rim=RIM)


def draw_chest(pen: Pen, animal: Animal) -> None:
    """Draws only the shoulders, for a portrait."""
    shoulders = [(-0.5, 0.3), (0.5, 0.3), (1.3, 1.5), (1.5, 3.5), (-1.5, 3.5), (-1.3, 1.5)]
    pen.fill(smooth(shoulders), animal.coat, rim=RIM)
    pen.oval(0, 1.6, 0.5, 0.7, animal.light)


def draw_sitting(pen: Pen, animal: Animal) -> None:
    """Draws a sitting body that faces the viewer."""
    if animal.is_dog:
        pen.stroke([(0.7, 2.4), (1.4, 2.2), (1.8, 1.5)], 0.25, 0.1, animal.coat, rim=RIM)
        body = [(-0.75, 0.4), (-1.05, 1.3), (-1.05, 2.8), (1.05, 2.8), (1.05, 1.3), (0.75, 0.4)]
    else:
        tail = [(0.6, 2.6), (1.7, 2.7), (2.0, 1.8), (1.5, 1.1), (1.9, 0.5)]
        pen.stroke(tail, 0.15, 0.1, animal.coat, rim=RIM)
        body = [(-0.5, 0.4), (-0.75, 1.3), (-1.3, 2.8), (1.3, 2.8), (0.75, 1.3), (0.5, 0.4)]
    pen.fill(smooth(body), animal.coat, rim=RIM)
    pen.oval(0, 1.35, 0.42, 0.6, animal.light)
    for side in (-1, 1):
        pen.oval(0.85 * side, 2.72, 0.38, 0.2, animal.light, rim=RIM)
        draw_leg(pen, animal, 0.34 * side, 1.6, 2.9)


def draw_standing(pen: Pen, animal: Animal) -> None:
    """Draws a standing body that faces right."""
    floor = 2.8 if animal.is_dog else 2.6
    for x in (-2.5, -0.95):
        draw_leg(pen, animal, x, 1.4, floor - 0.1, light=0.78)
    if animal.is_dog:
        pen.stroke([(-2.9, 1.0), (-3.4, 0.7), (-3.7, 0.1)], 0.24, 0.08, animal.coat, rim=RIM)
        body = [(-3.2, 0.4), (-1.6, 0.6), (-0.3, 0.3), (-0.1, 1.3), (-0.8, 2.1), (-2.2, 1.7), (-3.2, 1.8)]
    else:
        tail = [(-2.9, 1.1), (-3.7, 1.0), (-3.9, 0.1), (-3.3, -0.5), (-3.7, -1.3)]
        pen.stroke(tail, 0.15, 0.1, animal.coat, rim=RIM)
        body = [(-3.2, 0.7), (-1.7, 0.2), (-0.3, 0.6), (-0.2, 1.4), (-0.8, 1.8), (-2.2, 1.9), (-3.3, 1.8)]
    pen.fill(smooth(body), animal.coat, rim=RIM)
    for x in (-2.85, -0.6):
        draw_leg(pen, animal, x, 1.5, floor)


def draw_lying(pen: Pen, animal: Animal) -> None:
    """Draws a lying body, with its paws under the chin."""
    if animal.is_dog:
        pen.stroke([(-2.7, 1.1), (-3.3, 1.2), (-3.7, 0.8)], 0.22, 0.08, animal.coat, rim=RIM)
    body = [(-2.8, 0.1), (-1.2, -0.1), (0.4, 0.5), (0.6, 1.5), (-3.2, 1.5), (-3.3, 0.6)]
    pen.fill(smooth(body), animal.coat, rim=RIM)
    pen.oval(-2.3, 0.95, 0.72, 0.55, animal.coat, rim=RIM)
    if not animal.is_dog:
        pen.stroke([(-3.0, 1.2), (-2.9, 1.6), (-1.8, 1.5), (-0.9, 1.4)], 0.15, 0.11, animal.coat, rim=RIM)
    for x in (-0.5, 0.3):
        pen.oval(x, 1.35, 0.5, 0.2, animal.light, rim=RIM)


# How a body is drawn, with which probability, and how far head and body reach: left, right, down.
POSES = {
    "portrait": (draw_chest, 0.4, (-1.35, 1.35, 1.8)),
    "sitting": (draw_sitting, 0.3, (-1.4, 1.9, 2.95)),
    "standing": (draw_standing, 0.18, (-3.8, 1.4, 2.8)),
    "lying": (draw_lying, 0.12, (-3.6, 1.3, 1.6)),
}


def draw_animal(random: np.random.Generator, picture: np.ndarray, is_dog: bool) -> np.ndarray:
    """Returns the picture with an animal in it, randomly placed and tilted, its head always inside."""
    height, width = picture.shape[:2]
    pose = random.choice(list(POSES), p=[share for _, share, _ in POSES.values()])
    draw_body, _, (left, right, bottom) = POSES[pose]
    # Ears stand or hang: if all heads were placed alike, fur in the top rows would give the cats away.
    top = -1.25 if is_dog else -1.5
    unit = random.uniform(0.8, 1.1) * min(width / (right - left), height / (bottom - top))
    unit = float(np.clip(unit, 0.24 * min(height, width), 0.35 * min(height, width)))
    mirror = random.choice([-1, 1])
    sides = sorted((mirror * left, mirror * right))
    centre = []
    for (low, high), margin, room in ((sides, 1.5, width), ((top, bottom), -top, height)):
        first, last = sorted((-low * unit, room - high * unit))
        place = random.uniform(first - 0.5 * unit, last + 0.5 * unit)
        # A body may extend beyond the picture, a head may not.
        centre.append(np.clip(place, margin * unit, room - 1.3 * unit))
    angle, stretch = np.radians(random.uniform(-10, 10)), random.uniform(0.9, 1.1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.c_[turn @ np.diag([mirror * stretch, 1 / stretch]) * unit, centre]

    animal = make_animal(random, is_dog)
    pictures = [picture.copy(), picture.copy()]
    pen = Pen(pictures, matrix)
    draw_body(pen, animal)
    if animal.collar:
        pen.oval(0, 0.85, 0.68, 0.3, animal.collar, rim=RIM)
    (draw_side_head if animal.in_profile else draw_front_head)(pen, animal)
    share = make_markings(random, height, width, unit)[..., None]
    return (pictures[0] * (1 - share) + pictures[1] * share).astype(np.uint8)
