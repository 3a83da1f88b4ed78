"""Which of two values of an objective is the better one: for searches, trainings and figures alike."""


def lower_is_better(objective: str) -> bool:
    """Returns whether an objective is the better the lower: one whose name ends in "loss"."""
    return objective.endswith("loss")
