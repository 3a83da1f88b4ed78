"""Runs the notebooks headless with papermill: one at a time for `make`, all of them for a hosted session."""

import argparse
import ast
import logging
import os
import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

import nbformat
import papermill
from papermill.exceptions import PapermillExecutionError

from src.config import PROJECT, find_paths
from src.running.commands import check_place, run_command, run_module, stderr_into
from src.running.locks import check_no_workers, hold
from src.running.messages import quote, refuse_passwords
from src.running.parameters import check_pairs, check_value, read_setting, read_yaml_profile, split_settings
from src.running.stamp import check_settings
from src.runs import refuse_other_source, summarize

logger = logging.getLogger(__name__)

NOTEBOOKS = PROJECT / "notebooks"
STEPS = ["01_data", "02_generators", "03_tuning", "04_training", "05_evaluation"]  # of `make run`
MORE = ["06_transfer", "07_submission"]  # each has its own command and runs after those


def notebook_parameters(name: str) -> dict[str, object]:
    """Returns a notebook's parameters and their defaults, from its cell tagged `parameters`."""
    cells = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4).cells
    source = next(cell.source for cell in cells if "parameters" in cell.metadata.get("tags", []))
    assignments = [line for line in ast.parse(source).body if isinstance(line, ast.Assign)]
    return {line.targets[0].id: ast.literal_eval(line.value) for line in assignments}


def known_parameters(steps: Iterable[str] = (*STEPS, *MORE)) -> dict[str, object]:
    """Returns the parameters of these notebooks and their defaults."""
    return {name: default for step in steps for name, default in notebook_parameters(step).items()}


def read_profile(profile: str) -> dict[str, object]:
    """Returns a profile's parameters; `gpu` has none of its own: it is the notebooks' defaults.

    Raises:
        FileNotFoundError, ValueError: see `read_yaml_profile`.
    """
    return {} if profile == "gpu" else read_yaml_profile(NOTEBOOKS / "profiles", profile)


def check_parameters(values: dict[str, object], source: str) -> None:
    """Raises ValueError for an unknown parameter name, or a value of the wrong type or out of range.

    papermill itself only warns, and the run would then use settings that nobody asked for.
    """
    refuse_passwords(values.values())
    known = known_parameters()
    for name, value in values.items():
        if name not in known:
            raise ValueError(
                f"{source}: no notebook has a parameter {quote(name)}; known: {', '.join(sorted(known))}"
            )
        check_value(name, value, type(known[name]), source)


def run_notebook(name: str, output: Path, parameters: dict[str, object]) -> None:
    """Runs a notebook with those of the parameters that it has; `output` appears only once it is complete.

    A failed run leaves `<name>.failed.ipynb` beside it for inspection.

    Raises:
        PapermillExecutionError: a cell raised.
    """
    own = {key: value for key, value in parameters.items() if key in notebook_parameters(name)}
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_suffix(".partial.ipynb")
    failed = output.with_suffix(".failed.ipynb")
    failed.unlink(missing_ok=True)
    os.environ.update(HEADLESS="1", NOTEBOOK_RUN=str(output))  # for the kernel, which inherits them
    logging.getLogger("papermill").setLevel(logging.WARNING)  # it announces every cell
    logger.info("---- %s", name)
    try:
        with stderr_into(output.with_suffix(".stderr.txt")):
            papermill.execute_notebook(
                str(NOTEBOOKS / f"{name}.ipynb"),
                str(partial),
                own,
                kernel_name="python3",
                cwd=str(NOTEBOOKS),
                stdout_file=sys.stdout,
                progress_bar=False,
            )
    except PapermillExecutionError:
        partial.rename(failed)
        raise
    partial.rename(output)


def run_name(profile: str, data: str) -> str:
    """Returns the name of a run's folder: the profile and the data's name, cleaned up and without `.zip`."""
    name = re.sub(r"[^A-Za-z0-9._\x80-\U0010ffff-]", "_", Path(data).name.removesuffix(".zip"))
    return f"{profile}-{name}"


def read_settings(
    profile: str, settings: list[str], data: str = "auto", steps: Iterable[str] = (*STEPS, *MORE)
) -> dict[str, object]:
    """Returns a profile's parameters, overridden by `name=value` settings, all of them checked.

    Args:
        profile: its name.
        settings: texts of one or more settings, such as `["epochs=3 seed=7"]`; not data or run.
        data: if it is `auto`, the profile may name another data set.
        steps: the notebooks that will run: settings that none of them has are logged.
    """
    values, known = read_profile(profile), known_parameters()
    chosen = dict(read_setting(setting, known) for text in settings for setting in split_settings(text))
    check_parameters(values, f"profiles/{profile}.yaml")
    check_parameters(chosen, "settings")
    check_pairs({**known, **values, **chosen})
    if misplaced := sorted({"data", "run"} & chosen.keys() | {"run"} & values.keys()):
        raise ValueError(
            f"settings: {misplaced[0]} is none; give DATA=path or RUN=name to make, or data in notebook 00"
        )
    if idle := sorted(chosen.keys() - known_parameters(steps).keys()):
        logger.info("without effect on %s: %s", ", ".join(steps), ", ".join(idle))
    values["data"] = values.get("data", data) if data == "auto" else data
    if os.path.exists(path := chosen.get("pictures", "")):
        chosen["pictures"] = os.path.abspath(path)  # notebooks run in another folder
    return {**values, **chosen}


def run_all(
    profile: str = "gpu",
    data: str = "auto",
    settings: str = "",
    transfer: bool = False,
    submission: bool = False,
    processes: int = 1,
) -> Path:
    """Returns the run's folder after running notebooks 01 to 05, like `make run`, and 06 and 07 on request.

    Several processes search together, one per GPU, before notebook 03 shows what they found. A folder that
    is in use, or holds a complete run of other data of the same name, raises RuntimeError.
    """
    data = str(Path(data).resolve()) if os.path.exists(data) else data
    steps = STEPS + ["06_transfer"] * transfer + ["07_submission"] * submission
    values = read_settings(profile, [settings], data, steps)
    run = values["run"] = run_name(profile, values["data"])
    folder = find_paths().output / run
    words = ["--profile", profile, "--data", data, "--set", settings]
    os.environ["RUN_COMMAND"] = shlex.join(["run_all", *words])  # for the notebooks' kernels
    with hold(folder, wait=0):
        check_no_workers(folder)
        refuse_other_source(folder, values["data"])
        for step in steps:
            if step == "03_tuning" and processes > 1:
                spent = run_module("workers", str(folder), "--number", str(processes), *words) / 60
                if limit := values.get("max_minutes"):  # 03 does what is left, in the minutes that are left
                    values["max_minutes"] = max(limit - spent, 1 / 60)
            run_notebook(step, folder / f"{step}.ipynb", values)
    return folder


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code of `python -m src.pipeline`: one notebook, or the summary of a run."""
    parser = argparse.ArgumentParser(prog="python -m src.pipeline", description=__doc__)
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("step", choices=[*STEPS, *MORE, "summary"])
    parser.add_argument("--profile", default="gpu")
    parser.add_argument("--data", default="auto")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="instead of the profile's")
    parser.add_argument("--settings", help="that parameters.txt must still hold, as the Makefile wrote them")
    chosen = parser.parse_args(arguments)

    def work() -> int:
        if chosen.step == "summary":
            sys.stdout.write(summarize(chosen.run) + "\n")
            return 0
        steps = [chosen.step] if chosen.step in MORE else STEPS
        if chosen.step in STEPS[1:]:  # what has no effect on `make run` was logged at its first step
            steps = [*STEPS, *MORE]
        values = read_settings(chosen.profile, chosen.set, chosen.data, steps) | {"run": chosen.run.name}
        check_place(chosen.run)
        with hold(chosen.run, wait=0):  # waiting might run it between two steps of another command
            if chosen.settings is not None:
                check_settings(chosen.run, chosen.settings)
            if chosen.step in STEPS[:2]:
                check_no_workers(chosen.run)
            run_notebook(chosen.step, chosen.run / f"{chosen.step}.ipynb", values)
        return 0

    return run_command(chosen.step, chosen.run, work)


if __name__ == "__main__":
    sys.exit(main())
