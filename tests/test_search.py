"""What a notebook asks of a search reaches the engine, whichever it is."""

import keras_tuner
import pytest
from search_in_process import Training, build, serve

from src.search import make_search, run_search
from src.searches.isolation import IsolatedTrials
from src.searches.samplers import PRUNERS, SAMPLERS
from src.spaces import Space, as_settled
from src.study import StudySearch

ASKED = {"objective": "val_loss", "max_trials": 7, "seed": 3, "keep_models": 2}


def training() -> Training:
    return Training(Space(build, as_settled, ()), {}, serve, epochs=4)


def test_optuna_gets_all_that_is_asked_for(tmp_path):
    engine = {"sampler": SAMPLERS[1], "pruner": list(PRUNERS)[1], "storage": f"sqlite:///{tmp_path}/other.db"}
    search = make_search("optuna", made := training(), tmp_path, {"data": "x"}, **ASKED, **engine)
    wanted = {"training": made, "folder": tmp_path, "settings": {"data": "x"}, "epochs": 4}
    assert search.recipe == {**ASKED, **engine, **wanted} and (tmp_path / "other.db").exists()


def test_keras_tuner_gets_what_it_can_take(tmp_path):
    search = make_search("random", training(), tmp_path, {"data": "x"}, **ASKED)
    assert search.oracle.objective == keras_tuner.Objective("val_loss", "min")
    assert (search.oracle.max_trials, search.oracle.seed, search.epochs) == (7, 3, 4)
    assert (search.seed_of_search, search.keep_models) == (3, 2)


def test_an_unknown_tuner_is_named_with_those_there_are(tmp_path):
    with pytest.raises(ValueError, match="'best' is unknown; choose one of optuna, random, hyperband"):
        make_search("best", training(), tmp_path, {})


@pytest.mark.parametrize("isolated", [False, True])
def test_the_minutes_and_how_isolated_trials_compute_are_passed_on(isolated, monkeypatch):
    ran, search = [], StudySearch(None, {})
    monkeypatch.setattr(StudySearch, "run_for", lambda self, *asked: ran.append(asked))
    if isolated:
        run_search(search, 5.0, True, 2.0, deterministic="yes", precision="mixed_float16")
        assert ran == [(5.0, IsolatedTrials(search, 2.0, "yes", "mixed_float16"))]
    else:
        run_search(search, 5.0)
        assert ran == [(5.0,)]
