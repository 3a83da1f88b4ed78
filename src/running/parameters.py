"""What a profile, a setting and `input.json` may say: plain values of their type and in their range."""

import shlex
from dataclasses import fields
from pathlib import Path

import yaml

from src.datasets.patterns import compile_pattern
from src.images.augmentation import Augmentation
from src.running.allowed import HINTS, LIMITS, NOT_NEGATIVE, PATTERNS, SWITCHES, WORDS
from src.running.messages import one_line, quote, refuse_passwords
from src.runs import read_json

LARGEST_PROFILE = 100_000  # bytes; a profile is some lines, and YAML is read slowly
# What batches are made of, and its type.
INPUT = {"cache": str, "image_size": int, "interpolation": str, "batch_size": int, "epoch_fraction": float}
INPUT |= {"seed": int, "workers": int, "augmentation": dict}


def check_value(name: str, value: object, wanted: type, source: str) -> None:
    """Raises ValueError where a value is not of its type (a whole number does for a float) or range."""
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
    """Raises ValueError where a notebook's cell gives a parameter a value that it cannot have.

    A profile is checked before its notebook runs; this is for what was typed into the cell by hand.
    """
    refuse_passwords(values.values())
    for name, value in values.items():  # those of the user's own are none of ours
        if name in PATTERNS or name in WORDS:
            check_value(name, value, str, "the parameters cell")
        elif name in LIMITS:
            number = type(value) if type(value) in (int, float) else float  # text is no number
            check_value(name, value, number, "the parameters cell")
        elif name in SWITCHES and isinstance(value, str):  # as papermill's -p hands over true and false
            raise ValueError(f"the parameters cell: {name} is the text {quote(value)}; give True or False")


def check_growth(values: dict[str, object]) -> None:
    """Raises ValueError where pictures would have to become smaller as they grow."""
    first, last = values["first_image_size"], values["image_size"]
    if first > last and values["space"] == "modern":  # the others' pictures do not grow
        raise ValueError(f"first_image_size is {first}; give at most image_size, {last}, or 0 for one size")


def read_yaml_profile(path: Path) -> dict[str, object]:
    """Returns the `name: value` lines of a YAML file.

    Raises:
        ValueError: it is too large, no YAML, no mapping, or a value is not plain; or a name comes twice.
    """
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
    # Looked at before anything is made of it: aliases and merges can grow without end.
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
    """Returns the settings in a text, which are parted by blanks; quotes hold one together.

    Raises:
        ValueError: a quote that does not end.
    """
    parts = shlex.shlex(text, posix=True, punctuation_chars=False)
    parts.whitespace_split, parts.escape, parts.commenters = True, "", ""
    try:
        return list(parts)
    except ValueError as error:
        raise ValueError(f"settings {quote(text)}: {one_line(error)}; give quotes in pairs") from error


def read_setting(setting: str, known: dict[str, object]) -> tuple[str, object]:
    """Returns name and value of a `name=value` setting: what a parameter of text says is taken as it is.

    Args:
        setting: one of them.
        known: the parameters that there are, and their defaults.

    Raises:
        ValueError: the value is no plain YAML value.
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
    """Returns the run's `input.json` with its `augmentation` made an `Augmentation`.

    Args:
        run: the run's folder.
        input_file: its name below the folder; transfer has one of its own, for larger pictures.

    Raises:
        FileNotFoundError: notebook 02 has not run.
        ValueError: it is no JSON, or a value is missing, of another type or out of range.
    """
    path = run / input_file
    values = read_json(path)
    kinds = {field.name: type(field.default) for field in fields(Augmentation)}
    try:
        check_value("all of it", values, dict, "input.json")
        for name, kind in INPUT.items():
            check_value(name, values.get(name), kind, "input.json")
        for name, value in values["augmentation"].items():
            check_value(name, value, kinds.get(name, str), "augmentation")
        if Path(values["cache"]).name != values["cache"]:
            raise ValueError(f"cache is {quote(values['cache'])}; it has to be the plain name of a file")
        return {**values, "augmentation": Augmentation(**values["augmentation"])}
    except (TypeError, ValueError) as error:  # TypeError: a transformation that there is not
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
    except Exception as error:  # KeyError, AttributeError and more, where a tag does not suit its value
        raise ValueError(
            f"{source}: YAML makes no value of it: {one_line(error)}; correct it there"
        ) from error
