"""The two commands of a benchmark whose training runs are collected over days."""

import argparse
from pathlib import Path


def train_and_table(description: str) -> tuple[argparse.ArgumentParser, ...]:
    """Returns the parser of `train RUN RESULTS` and `table RESULTS`, then the parsers of the two commands."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    training, showing = commands.add_parser("train"), commands.add_parser("table")
    training.add_argument("run", type=Path)
    for command in (training, showing):
        command.add_argument("results", type=Path)
    return parser, training, showing
