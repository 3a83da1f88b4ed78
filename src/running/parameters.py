"""What a profile, a setting and `input.json` may contain: plain values of the right type and range."""

import shlex
from dataclasses import fields
from pathlib import Path

import yaml

from src.datasets.patterns import compile_pattern
from src.images.augmentation import Augmentation
from src.running.allowed import HINTS, LIMITS, NOT_NEGATIVE, PATTERNS, SWITCHES, WORDS
from src.running.messages import one_line, quote, refuse_passwords
from src.runs import read_json

LARGEST_PROFILE = 100_000  # bytes; a profile is a few lines, and YAML is slow to parse
# The settings that define batches, and their types.
INPUT = {"cache": str, "image_size": int, "interpolation": str, "batch_size": int, "epoch_fraction": float}
INPUT |= {"first_image_size": int, "seed": int, "workers": int, "augmentation": dict}


def check_value(name: str, value: object, wanted: type, source: str) -> None:
    """Raises ValueError if a value has the wrong type (an int may stand for a float) or is out of range."""
    if type(value) is not wanted and not (wanted is float and type(value) is int):
        raise ValueError(
            f"{source}: {name} is {quote(value)}; it has to be {wanted.__name__}: {HINTS[wanted]}"
        )
    if name in WORDS and value not in WORDS[name]:
        raise ValueError(f"{source}: {name} is {quote(value)}; choose one of {', '.join(WORDS[name])}")
    if name in PATTERNS:
        compile_pattern(value, name, source)
    limit = LIMITS.get(name, NOT_NEGATIVE)
    if wanted in (int, float) and not limit.allows(value):
        raise ValueError(f"{source}: {name} is {quote(value)}; give {limit.words}")


def check_cell(values: dict[str, object]) -> None:
    """Raises ValueError if a notebook's cell gives a parameter an invalid value.

    A profile is checked before its notebook runs; this is for what was typed into the cell by hand.
    """
    refuse_passwords(values.values())
    for name, value in values.items():  # the user's own variables are not checked
        if name in {"positive_class", *PATTERNS, *WORDS}:  # a class may be called 1
            check_value(name, value, str, "the parameters cell")
        elif name in LIMITS:
            number = type(value) if type(value) in (int, float) else float  # anything else is refused
            check_value(name, value, number, "the parameters cell")
        elif name in SWITCHES and isinstance(value, str):  # papermill's -p passes true and false as text
            raise ValueError(f"the parameters cell: {name} is the text {quote(value)}; give True or False")


def check_pairs(values: dict[str, object]) -> None:
    """Raises ValueError if a run's parameters, each one allowed, do not go together."""
    first, last = values["first_image_size"], values["image_size"]
    if values["space"] == "modern":  # in other spaces pictures do not grow, and weights are not averaged
        if first > last:
            raise ValueError(
                f"first_image_size is {first}; give at most image_size, {last}, or 0 for one size"
            )
        check_averaging(values["weight_averaging"], values["final_patience"])
    check_isolation(values["tuner"] == "optuna", values["isolate_trials"], values["trial_timeout_minutes"])


def check_averaging(weight_averaging: float, patience: int) -> None:
    """Raises ValueError if weights are to be averaged, and the best epoch's to be restored."""
    if weight_averaging and patience:
        raise ValueError(
            "weight_averaging does not go with final_patience: patience puts back the best epoch's own "
            "weights, not their average; set one of the two to 0"
        )


def check_isolation(with_optuna: bool, isolate_trials: bool, trial_timeout_minutes: float) -> None:
    """Raises ValueError if KerasTuner's trials are to be isolated, or trials ended that are not isolated."""
    if isolate_trials and not with_optuna:
        raise ValueError(
            "isolate_trials is on, and KerasTuner's tuners cannot do that; choose tuner = 'optuna'"
        )
    if trial_timeout_minutes and not isolate_trials:
        raise ValueError("trial_timeout_minutes needs isolate_trials: a process cannot end its own hang")


def read_yaml_profile(folder: Path, profile: str) -> dict[str, object]:
    """Returns the names and values of a profile, a YAML file of `name: value` lines.

    Raises:
        FileNotFoundError: the folder has no such profile.
        ValueError: it is too large, not YAML or not a mapping, a value is not plain, or a name occurs twice.
    """
    names = sorted(file.stem for file in folder.glob("*.yaml") if file.is_file())
    if profile not in names:
        raise FileNotFoundError(f"there is no profile {quote(profile)}; choose gpu, {', '.join(names)}")
    path = folder / f"{profile}.yaml"
    if path.stat().st_size > LARGEST_PROFILE:
        raise ValueError(f"{path} is larger than {LARGEST_PROFILE:,} bytes; a profile is some lines of YAML")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not readable YAML ({error}); save it as UTF-8") from error
    node = _compose(text, str(path))
    if not isinstance(node, yaml.MappingNode):
        raise ValueError(f"{path} holds no `name: value` lines; write one line a parameter")
    names = set()
    # Checked before any value is constructed: aliases and merges can expand without limit.
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or not isinstance(value, yaml.ScalarNode):
            raise ValueError(
                f"{path}: {quote(key.value)} holds a list or mapping; give one plain value a name"
            )
        if key.value in names:
            raise ValueError(f"{path}: {quote(key.value)} is there twice; keep one of the lines")
        names.add(key.value)
    return _construct(text, str(path))


def split_settings(text: str) -> list[str]:
    """Returns the settings in a text, which are separated by whitespace; quotes keep one together.

    Raises:
        ValueError: a quote is not closed.
    """
    parts = shlex.shlex(text, posix=True, punctuation_chars=False)
    parts.whitespace_split, parts.escape, parts.commenters = True, "", ""
    try:
        return list(parts)
    except ValueError as error:
        raise ValueError(f"settings {quote(text)}: {one_line(error)}; give quotes in pairs") from error


def read_setting(setting: str, known: dict[str, object]) -> tuple[str, object]:
    """Returns the name and value of a `name=value` setting; values of text parameters are taken literally.

    Args:
        setting: the setting's text.
        known: the existing parameters and their defaults.

    Raises:
        ValueError: the value is missing, or is not a plain YAML value.
    """
    name, equals, text = setting.partition("=")
    if not equals and name in known:
        raise ValueError(f"setting {quote(setting)} has no value; write {name}=value")
    if isinstance(known.get(name), str):
        return name, text
    source = f"setting {quote(setting)}"
    if not isinstance(_compose(text, source), yaml.ScalarNode | None):
        raise ValueError(f"{source} holds a list or mapping; give one plain value")
    return name, _construct(text, source)


def read_input(run: Path, input_file: str = "input.json") -> dict[str, object]:
    """Returns the run's `input.json`, with `augmentation` converted to an `Augmentation`.

    Args:
        run: the run's folder.
        input_file: its name below the folder; transfer has its own, for larger pictures.

    Raises:
        FileNotFoundError: notebook 02 has not run.
        ValueError: it is not JSON, or a value is missing, of the wrong type or out of range.
    """
    path = run / input_file
    values = read_json(path)
    kinds = {field.name: type(field.default) for field in fields(Augmentation)}
    try:
        for name, kind in INPUT.items():
            check_value(name, values.get(name), kind, "input.json")
        for name, value in values["augmentation"].items():
            check_value(name, value, kinds.get(name, str), "augmentation")
        if Path(values["cache"]).name != values["cache"]:
            raise ValueError(f"cache is {quote(values['cache'])}; it has to be the plain name of a file")
        return {**values, "augmentation": Augmentation(**values["augmentation"])}
    except (TypeError, ValueError) as error:  # TypeError: an unknown transformation
        notebook = "02" if input_file == "input.json" else "06"
        raise ValueError(f"{path} is damaged: {one_line(error)}; run notebook {notebook} again") from error


def _compose(text: str, source: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{source} is not readable YAML: {one_line(error)}; correct it there") from error


def _construct(text: str, source: str) -> object:
    try:
        return yaml.safe_load(text)
    except Exception as error:  # KeyError, AttributeError and more, if a tag does not fit its value
        raise ValueError(
            f"{source}: YAML makes no value of it: {one_line(error)}; correct it there"
        ) from error
