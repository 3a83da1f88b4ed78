"""The comparison of backends: what counts as the same accuracy, and an environment made once."""

import os
import subprocess

import backends


def test_an_accuracy_outside_the_tensorflow_interval_is_not_accepted():
    reference = {"accuracy": 0.95, "low": 0.92, "high": 0.97, "n": 241}
    verdicts = {
        accuracy: backends.judge("jax", {"accuracy": accuracy, "low": 0, "high": 1, "n": 241}, reference)
        for accuracy in (0.919, 0.92, 0.97, 0.971)
    }
    assert [inside for _, inside in verdicts.values()] == [False, True, True, False]
    assert "OUTSIDE" in verdicts[0.919][0] and "inside" in verdicts[0.92][0]


def test_an_environment_is_made_once_and_again_after_new_requirements(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(backends, "PROJECT", tmp_path)
    monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append([*map(str, command)]))
    (tmp_path / "requirements.txt").write_text("keras\n")
    folder = tmp_path / ".venv-jax"
    folder.mkdir()
    python = backends.make_environment("jax", folder)
    assert [command[1:3] for command in commands] == [["-m", "venv"], ["-m", "pip"]]
    assert commands[1][-2:] == [str(tmp_path / "requirements.txt"), "jax"] and commands[1][0] == str(python)
    backends.make_environment("jax", folder)
    assert len(commands) == 2
    newer = (folder / "installed").stat().st_mtime_ns + 10**9
    os.utime(tmp_path / "requirements.txt", ns=(newer, newer))
    backends.make_environment("jax", folder)
    assert len(commands) == 4
