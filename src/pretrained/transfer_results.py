"""Results of transfer learning: the best network on validation, the saved files, the test metrics."""

from pathlib import Path
from typing import NamedTuple

import keras
import pandas as pd

from src.evaluation import check_against_keras, decide, measure
from src.generators import load_batches
from src.networks.ensemble import average_networks
from src.results.calibration import Calibration, calibrate, log_loss
from src.results.comparison import measure_cost, note_result
from src.results.opening import open_test
from src.runs import copy_model, read_json, save_model, write_json, write_table
from src.transfer import INPUT


def average_validations(validations: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Returns the mean predictions of several networks on the same validation pictures.

    Args:
        validations: predictions by network name: image_name, code, probability, probability_with_mirror.

    Raises:
        ValueError: the tables are of different pictures, or in different orders.
    """
    tables = list(validations.values())
    if any(not table["image_name"].equals(tables[0]["image_name"]) for table in tables):
        raise ValueError("the networks were asked about different pictures; run notebook 06 again")
    columns = ["probability", "probability_with_mirror"]
    mean = sum(table[columns] for table in tables) / len(tables)
    return tables[0][["image_name", "code"]].join(mean)


def compare_networks(
    validations: dict[str, pd.DataFrame], mirrored_views: bool, temperature_scaling: bool
) -> pd.DataFrame:
    """Returns one row per network, best on validation first.

    Columns: accuracy as_it_is and with_mirror_view, temperature, and log_loss at that temperature.

    Args:
        validations: predictions by network name: code, probability, probability_with_mirror; also group if
            the split has groups.
        mirrored_views: whether predictions with the mirror view decide order, temperature and log loss.
        temperature_scaling: whether the temperature is chosen; otherwise it is 1.
    """
    views = {"as_it_is": "probability", "with_mirror_view": "probability_with_mirror"}
    chosen = "with_mirror_view" if mirrored_views else "as_it_is"
    rows = []
    for name, table in validations.items():
        seen = {view: decide(table.assign(probability=table[column])) for view, column in views.items()}
        accuracies = {view: each["correct"].mean() for view, each in seen.items()}
        temperature = calibrate(seen[chosen]).temperature if temperature_scaling else 1.0
        loss = log_loss(seen[chosen], Calibration(temperature, 0.0))
        rows.append({"network": name, **accuracies, "temperature": temperature, "log_loss": loss})
    table = pd.DataFrame(rows).sort_values([chosen, "log_loss"], ascending=[False, True])
    return table.set_index("network")


def save_networks(
    run: Path,
    networks: dict[str, keras.Model],
    best: str,
    facts: dict,
    own: dict[str, dict],
    temperatures: dict[str, float] | pd.Series,
) -> dict[str, str]:
    """Returns which network is in which file: `transfer` holds the best, `transfer_frozen` the frozen one.

    Each file has a JSON file beside it with what its user must know.

    Args:
        run: the run's folder.
        networks: frozen and fine-tuned, by name.
        best: the name of one of them, or `averaged` for the mean of both.
        facts: common to both; `mirrored_views` says whether they also predict the mirror image.
        own: the facts of each network alone, by name.
        temperatures: of each network, by name: see `average_networks`.
    """

    def save(name: str, path: Path) -> None:
        members = list(networks.values()) if name == "averaged" else [networks[name]]
        temperature = float(temperatures[name])
        model = average_networks(members, facts["mirrored_views"], temperature)
        save_model(model, path, {**facts, **own[name], "temperature": temperature})

    save("frozen", run / "transfer_frozen.keras")
    if best == "frozen":  # copied, because a model saved twice is two files of different bytes
        copy_model(run / "transfer_frozen.keras", run / "transfer.keras")
    else:
        save(best, run / "transfer.keras")
    return {"transfer": best, "transfer_frozen": "frozen"}


class Measured(NamedTuple):
    """A network's predictions and metrics on the test part."""

    predictions: pd.DataFrame
    measures: dict[str, float]


def measure_test(run: Path, stem: str, training_minutes: float) -> Measured:
    """Returns predictions and metrics on the test part, which is opened just as in notebook 05.

    Args:
        run: the run's folder.
        stem: of the network's file and of the files written beside it: `<stem>_predictions.csv` and
            `<stem>_metrics.json`.
        training_minutes: training time of the network; stored with the metrics.
    """
    predictions, figures, _ = open_test(run, run / f"{stem}.keras", INPUT)
    check_against_keras(predictions, figures["accuracy"])
    measures = {**figures, **measure(predictions), "training_minutes": round(training_minutes, 2)}
    write_table(predictions, run / f"{stem}_predictions.csv")
    write_json(run / f"{stem}_metrics.json", measures)
    return Measured(predictions, measures)


def note_results(run: Path, backbone: str, saved: dict[str, str], measured: dict[str, Measured]) -> None:
    """Records the networks, each once, and their costs for the table of all results.

    Args:
        run: the run's folder.
        backbone: its name.
        saved: from `save_networks`.
        measured: from `measure_test`, by the stems of the files.
    """
    left = (run / "results").glob("transfer*")  # from an earlier choice
    for path in sorted(left, reverse=True):  # a .json before its .csv, as `collect_results` expects
        path.unlink()
    batches = load_batches(run, "validation", input_file=INPUT)
    files = {name: stem for stem, name in saved.items()}  # one of each network, though both may hold it
    for name, stem in files.items():
        measures = measured[stem].measures
        cost = measure_cost(run / f"{stem}.keras", batches, measures["training_minutes"])
        facts = {"loss": measures["loss"], **cost}
        untrained = read_json(run / f"{stem}.json")["weights"] == "none"
        title = f"{backbone}, {name}" + " (random weights)" * untrained
        note_result(run, stem, title, measured[stem].predictions, facts)
