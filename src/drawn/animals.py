"""Draws the heads of cats and dogs: colours and habits are common to both, shapes are not.

Lengths are in head radii; the head's centre is (0, 0), x points right and y down.
"""

from typing import NamedTuple

import numpy as np

from src.drawn.drawing import Coat, Pen, make_noise, pick, shade, smooth

# fmt: off
# Cats and dogs share the same colours.
FURS = [
    (70, 140, 222), (180, 212, 238), (142, 136, 130), (62, 54, 52), (66, 98, 142),
    (232, 238, 242), (48, 70, 104), (168, 150, 138), (110, 165, 205), (96, 118, 180),
]
IRISES = [(90, 170, 120), (60, 160, 215), (200, 150, 90), (50, 90, 140)]
NOSES = [(60, 50, 55), (130, 120, 205), (70, 70, 110)]
COLLARS = [(60, 60, 200), (190, 110, 50), (80, 160, 60), (60, 190, 230), (170, 70, 150)]
INK, CREAM, PINK = ((45, 38, 40),) * 2, ((246, 249, 250),) * 2, ((140, 130, 235),) * 2
RIM = 0.09  # width of the dark line around a part

# Outlines before their corners are rounded; a repeated point stays sharper. The front ears are right ears.
CAT_EAR = np.array([(1.05, -0.05), (1.0, -1.6), (1.0, -1.6), (0.1, -0.75)])
DOG_EAR = np.array([(0.4, -0.85), (0.95, -0.85), (1.3, -0.2), (1.3, 0.65), (0.98, 0.95), (0.75, 0.4),
                    (0.72, -0.3)])
CAT_HEAD = [(-0.6, -0.98), (0.6, -0.98), (1.3, 0.0), (1.05, 0.72), (0.3, 0.98), (-0.3, 0.98), (-1.05, 0.72),
            (-1.3, 0.0)]
DOG_HEAD = [(-0.7, -0.98), (0.7, -0.98), (1.08, -0.1), (0.75, 0.98), (-0.75, 0.98), (-1.08, -0.1)]
CAT_SIDE_EAR = np.array([(-0.7, -0.5), (-0.15, -1.6), (-0.15, -1.6), (0.35, -0.6)])
DOG_SIDE_EAR = np.array([(-0.5, -0.75), (0.1, -0.75), (0.15, 0.1), (-0.1, 0.9), (-0.6, 0.8)])
CAT_SIDE_HEAD = [(-0.6, -0.95), (0.5, -0.95), (1.1, -0.3), (1.25, 0.35), (0.9, 0.75), (0.2, 0.95),
                 (-0.8, 0.8), (-1.2, 0)]
DOG_SIDE_HEAD = [(-0.8, -0.7), (0.3, -1.0), (0.75, -0.35), (1.6, -0.15), (1.8, 0.3), (1.5, 0.7), (0.6, 0.8),
                 (-0.2, 1.0), (-0.95, 0.4)]
# fmt: on


class Animal(NamedTuple):
    """What an animal is, and how it looks in one picture."""

    is_dog: bool
    coat: Coat
    light: Coat  # muzzle, bib and paws
    iris: Coat
    nose: Coat
    collar: Coat | None
    ears: float  # length, about 1
    ear_light: float  # how much darker or lighter the ears are than the rest
    turn: float  # of the face, -1 left .. 1 right
    tongue: bool
    asleep: bool
    in_profile: bool


def make_animal(random: np.random.Generator, is_dog: bool) -> Animal:
    """Returns an animal whose colours and habits are drawn from the same distributions for cats and dogs."""
    ground, marking = (pick(random, [FURS[k]]) for k in random.choice(len(FURS), 2, replace=False))
    return Animal(
        is_dog=is_dog,
        coat=(ground, marking),
        light=CREAM if random.random() < 0.4 else (shade(ground, 1.2),) * 2,
        iris=(pick(random, IRISES),) * 2,
        nose=(pick(random, NOSES),) * 2,
        collar=(pick(random, COLLARS),) * 2 if random.random() < 0.35 else None,
        ears=random.uniform(0.85, 1.15),
        ear_light=random.uniform(0.75, 1.15),
        turn=random.uniform(-1, 1),
        tongue=random.random() < 0.25,
        asleep=random.random() < 0.1,
        in_profile=random.random() < 0.1,
    )


def shaded(coat: Coat, light: float) -> Coat:
    """Returns both colours of the coat, darker (light below 1) or lighter."""
    return shade(coat[0], light), shade(coat[1], light)


def make_markings(random: np.random.Generator, height: int, width: int, unit: float) -> np.ndarray:
    """Returns how much the second colour shows, 0..1, shape (height, width): none, patches or stripes."""
    noise = make_noise(random, height, width, max(height, width) / unit / random.uniform(0.5, 1.2))
    kind = random.choice(["none", "patches", "stripes"], p=[0.4, 0.35, 0.25])
    if kind == "patches":
        return np.clip((noise - random.uniform(0.45, 0.65)) * 12, 0, 1)
    if kind == "stripes":
        angle = random.uniform(0, np.pi)
        down, across = np.mgrid[:height, :width] / unit
        waves = np.sin(random.uniform(9, 14) * (across * np.cos(angle) + down * np.sin(angle)) + 5 * noise)
        return np.clip(waves * 3 - 1, 0, 1) * random.uniform(0.3, 0.65)
    return np.zeros((height, width))


def draw_front_ear(pen: Pen, animal: Animal, side: int) -> None:
    """Draws the ear on one side (-1 left, 1 right): a cat's is upright and pointed, a dog's hangs down."""
    ear = (DOG_EAR if animal.is_dog else CAT_EAR) * (side, animal.ears)
    pen.fill(smooth(ear), shaded(animal.coat, animal.ear_light), rim=RIM)
    if not animal.is_dog:
        inside = (CAT_EAR * (0.62, 0.72) + (0.28, -0.2)) * (side, animal.ears)
        pen.fill(smooth(inside), shaded(animal.light, 0.7))


def draw_eye(pen: Pen, animal: Animal, x: float, y: float) -> None:
    """Draws an eye: a cat's is wide with a narrow pupil, a dog's is round; a sleeping animal's is shut."""
    if animal.asleep:
        pen.stroke([(x - 0.2, y), (x, y + 0.16), (x + 0.2, y)], 0.04, 0.04, INK)
        return
    width, height, pupil = (0.17, 0.19, 0.12) if animal.is_dog else (0.25, 0.2, 0.07)
    pen.oval(x, y, width + 0.05, height + 0.05, INK)
    pen.oval(x, y, width, height, animal.iris)
    pen.oval(x, y, pupil, 0.16, INK)
    pen.oval(x + 0.06, y - 0.08, 0.06, 0.06, CREAM)


def draw_whiskers(pen: Pen, animal: Animal, x: float, side: int) -> None:
    """Draws the three whiskers on one side, in a colour that contrasts with the coat."""
    for rise in (-0.22, 0.0, 0.22):
        ends = ((0, 0.45 + 0.3 * rise), (0.5, 0.4 + 0.7 * rise), (1.1, 0.5 + 1.5 * rise))
        line = [(x + side * out, y) for out, y in ends]
        pen.stroke(line, 0.035, 0.015, CREAM if sum(animal.coat[0]) < 420 else INK)


def draw_front_head(pen: Pen, animal: Animal) -> None:
    """Draws the head from the front, with the face turned a little to one side."""
    x, nose_y = 0.28 * animal.turn, 0.3
    if animal.is_dog:
        pen.fill(smooth(DOG_HEAD), animal.coat, rim=RIM)
        pen.oval(x, 0.58, 0.55, 0.55, animal.light, rim=RIM)
        mouth, nose_width = 1.3, 0.24
    else:
        for side in (-1, 1):
            draw_front_ear(pen, animal, side)
        pen.fill(smooth(CAT_HEAD), animal.coat, rim=RIM)
        pen.oval(x, 0.52, 0.5, 0.4, animal.light)
        for side in (-1, 1):
            draw_whiskers(pen, animal, x + 0.3 * side, side)
        mouth, nose_width = 0.9, 0.13
    if animal.tongue:
        pen.oval(x, nose_y + 0.5 * mouth, 0.12 * mouth, 0.18 * mouth, PINK)
    for side in (-1, 1):
        smile = [(0, 0.1), (0, 0.38), (0.16 * side, 0.46), (0.34 * side, 0.3)]
        pen.stroke(np.array(smile) * mouth + (x, nose_y), 0.035, 0.035, INK)
        draw_eye(pen, animal, 0.85 * x + 0.44 * side, -0.14)
        if animal.is_dog:
            draw_front_ear(pen, animal, side)
    pen.oval(x, nose_y, nose_width, 0.72 * nose_width, animal.nose)


def draw_side_head(pen: Pen, animal: Animal) -> None:
    """Draws the head in profile, facing right: a cat's muzzle is short, a dog's is long."""
    if animal.is_dog:
        pen.fill(smooth(DOG_SIDE_HEAD), animal.coat, rim=RIM)
        pen.oval(1.2, 0.34, 0.46, 0.28, animal.light)
        if animal.tongue:
            pen.oval(1.15, 0.75, 0.14, 0.24, PINK)
        pen.stroke([(1.6, 0.45), (1.2, 0.62), (0.75, 0.5)], 0.035, 0.035, INK)
        pen.oval(1.6, 0.05, 0.2, 0.16, animal.nose)
        pen.fill(smooth(DOG_SIDE_EAR * (1, animal.ears)), shaded(animal.coat, 0.8), rim=RIM)
    else:
        for shift, light in ((0.45, 0.82), (-0.1, 1.0)):
            pen.fill(
                smooth(CAT_SIDE_EAR * (1, animal.ears) + (shift, 0)), shaded(animal.coat, light), rim=RIM
            )
        pen.fill(smooth(CAT_SIDE_HEAD), animal.coat, rim=RIM)
        pen.oval(0.85, 0.36, 0.33, 0.26, animal.light)
        if animal.tongue:
            pen.oval(0.95, 0.6, 0.1, 0.14, PINK)
        pen.stroke([(1.05, 0.42), (0.95, 0.54), (0.65, 0.45)], 0.035, 0.035, INK)
        pen.oval(1.08, 0.2, 0.11, 0.1, animal.nose)
        draw_whiskers(pen, animal, 0.85, 1)
    draw_eye(pen, animal, 0.42, -0.16)
