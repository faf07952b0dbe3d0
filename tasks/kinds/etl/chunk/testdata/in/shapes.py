"""Shapes and their areas."""

import math
from dataclasses import dataclass


@dataclass
class Circle:
    radius: float

    def area(self) -> float:
        return math.pi * self.radius ** 2

    def scaled(self, by: float) -> "Circle":
        if by < 0:
            raise ValueError("cannot scale by a negative number")

        return Circle(self.radius * by)


@dataclass
class Square:
    side: float

    def area(self) -> float:
        return self.side ** 2


def total(shapes) -> float:
    return sum(s.area() for s in shapes)
