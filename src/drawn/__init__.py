"""Draws the default pictures: cats and dogs before varied backgrounds."""
