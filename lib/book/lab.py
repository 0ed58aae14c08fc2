"""JupyterLab on the chapters, without its news pop-up."""

import json
import os
import subprocess
import sys
from pathlib import Path

from lib.book.layout import Layout
from lib.files import write_whole

_OVERRIDES = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": False,
    }
}


def lab_command(folder: Path, port: int | None = None, browser: bool = True) -> list[str]:
    """The command that starts JupyterLab on `folder`, on 127.0.0.1. port: None lets JupyterLab choose."""
    command = [sys.executable, "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={folder}"]
    if port is not None:
        command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    return command if browser else [*command, "--no-browser"]


def lab_environment(configuration: Path) -> dict[str, str]:
    """The environment for it. `configuration`: a folder for our settings; the reader's own stay in force."""
    overrides = configuration / "labconfig" / "default_setting_overrides.json"
    write_whole(overrides, json.dumps(_OVERRIDES, indent=1) + "\n")
    known = os.environ.get("JUPYTER_CONFIG_PATH", "")
    return {
        **os.environ,
        "JUPYTER_CONFIG_PATH": os.pathsep.join([str(configuration), *filter(None, [known])]),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "BOOK_LIVE": "1",
    }


def lab(layout: Layout) -> int:
    """Start JupyterLab and wait for its end; returns its exit code."""
    environment = lab_environment(layout.build / "jupyter")
    return subprocess.run(lab_command(layout.chapters), env=environment).returncode
