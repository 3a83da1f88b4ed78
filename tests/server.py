"""A PostgreSQL server of its own on loopback, for the tests: started, stopped hard, started again."""

import os
import pwd
import socket
import subprocess
from pathlib import Path

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))  # where Debian has them
USER, PASSWORD = "searcher", "s3cret word"


def is_installed() -> bool:
    """Returns whether the server's programs are on this machine."""
    return any((folder / "initdb").exists() for folder in PROGRAMS)


class Server:
    """A server with its data in a folder, run by the system's user `postgres` where we are root."""

    def __init__(self, folder: Path):
        """Makes the data; the folder is given to the server's user, who must come there, unlike pytest's."""
        self.folder, self.data = folder, folder / "data"
        self.programs = next(path for path in reversed(PROGRAMS) if (path / "initdb").exists())
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "password").write_text(PASSWORD)
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            for path in (folder, folder / "password"):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        settings = ["-U", USER, "-A", "scram-sha-256", "--pwfile", folder / "password", "-D", self.data]
        self._run("initdb", *settings, "--no-sync")

    @property
    def url(self) -> str:
        """The address, with its password."""
        return f"postgresql://{USER}:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -F"
        self._run("pg_ctl", "-D", self.data, "-o", options, "-l", self.folder / "log", "-w", "start")

    def stop(self) -> None:
        """Stops it at once: every connection is cut."""
        self._run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")

    def _run(self, program: str, *arguments) -> None:
        command = [str(self.programs / program), *map(str, arguments)]
        user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **user)
