"""Whether lower or higher values of an objective are better, for searches, training and plots alike."""


def lower_is_better(objective: str) -> bool:
    """Returns whether lower values of the objective are better: true if its name ends in "loss"."""
    return objective.endswith("loss")
