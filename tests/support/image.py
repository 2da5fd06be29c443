"""Builds an image's file tree without Docker: the Dockerfile's own steps, in order, in a chroot.

Needs root, Linux and debootstrap, whose Debian stands in for `python:3.11-slim`. It shows that each
step works and what comes of them; layers, registries and the engine itself it cannot show.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.support.process import PROJECT
from tests.support.trust import environment_of_the_world

DEBIAN = ("bookworm", "python3,python3-venv,ca-certificates")
"""A release whose Python is 3.11, and what the slim image has beside the least."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
WAYS_OUT = re.compile(r"(?i)^(pip_|uv_|.*_proxy$|ssl_cert|requests_ca)")
"""Variables that say how this machine reaches package registries."""
OF_THE_MACHINE = ("etc/resolv.conf", "etc/ssl/certs/ca-certificates.crt")
IGNORED = {"VOLUME", "EXPOSE", "STOPSIGNAL"}


@dataclass(frozen=True)
class Image:
    """A tree, and how what is in it is run."""

    root: Path
    env: Mapping[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0:0"
    entrypoint: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    health: tuple[str, ...] = ()

    def size(self, part: str) -> int:
        """Bytes on disk of a folder in it."""
        command = ["du", "-sk", str(self.root / part)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(done.stdout.split()[0]) * 1024

    def command(
        self,
        words: Sequence[str],
        *,
        data: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> list[str]:
        """What runs these words in it: as its user on a root that is read-only, with ``data`` at
        /data; as it is built, where there is none.
        """
        root = shlex.quote(str(self.root))
        mounts = ["set -e", f"mount --bind {root} {root}"]
        if data is not None:
            mounts += [
                f"mount --bind {shlex.quote(str(data))} {root}/data",
                f"mount -o remount,bind,ro {root}",
            ]
        mounts += [
            f"mount -t proc none {root}/proc",
            f"mount -t tmpfs none {root}/tmp",
            f"mount --rbind /dev {root}/dev",
        ]
        settings = {"PATH": PATH, "HOME": "/tmp"} | dict(self.env) | dict(env or {})
        inside = [
            *("chroot", f"--userspec={self.user}", str(self.root), "/usr/bin/env", "-i"),
            f"--chdir={self.folder}",
            *(f"{name}={value}" for name, value in settings.items()),
            *words,
        ]
        return [
            "unshare",
            "--mount",
            "sh",
            "-c",
            "\n".join([*mounts, f"exec {shlex.join(inside)}"]),
        ]


def debian(folder: Path) -> Image:
    """The image that the others come from: TEST_CHROOT, where it names one that was made before."""
    made = os.environ.get("TEST_CHROOT")
    root = Path(made) if made else folder / "debian"
    if not made:
        release, packages = DEBIAN
        _run(["debootstrap", "--variant=minbase", f"--include={packages}", release, str(root)])
    return Image(root)


def build(folder: Path, base: Image) -> dict[str, Image]:
    """The images of all stages, by name."""
    built: dict[str, Image] = {}
    image, name = base, ""
    for step, rest in steps((PROJECT / "Dockerfile").read_text()):
        if step == "FROM":
            source, _, name = rest.partition(" AS ")
            before = built.get(source, base)
            image = replace(before, root=_copy(before.root, folder / name))
            if source not in built:
                _prepare(image.root)
        elif step == "RUN":
            world = environment_of_the_world()
            ways = {key: value for key, value in world.items() if WAYS_OUT.match(key)}
            _run(image.command(["/bin/sh", "-c", rest], env=ways))
        elif step == "COPY":
            _copy_in(image, built, shlex.split(rest))
        elif step not in IGNORED:
            image = _configured(image, step, rest)
        built[name] = image
    return built


def steps(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction with what follows it; lines that go on are one, without comments."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word, rest.strip()


def _configured(image: Image, step: str, rest: str) -> Image:
    match step:
        case "ENV":
            pairs = dict(word.split("=", 1) for word in shlex.split(rest))
            known = {"PATH": PATH} | dict(image.env)
            for name, value in pairs.items():
                known[name] = re.sub(r"\$(\w+)", lambda found: known[found[1]], value)
            return replace(image, env=known)
        case "WORKDIR":
            (image.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            return replace(image, folder=rest)
        case "USER":
            return replace(image, user=rest)
        case "ENTRYPOINT":
            return replace(image, entrypoint=tuple(json.loads(rest)))
        case "CMD":
            return replace(image, words=tuple(json.loads(rest)))
        case "HEALTHCHECK":
            _, _, command = rest.partition("CMD ")
            return replace(image, health=tuple(json.loads(command)) if command else ())
    raise NotImplementedError(f"{step} {rest}")


def _copy_in(image: Image, built: Mapping[str, Image], words: list[str]) -> None:
    source = PROJECT
    if words[0].startswith("--from="):
        source = built[words.pop(0).removeprefix("--from=")].root
    *names, target = words
    to = image.root / (Path(image.folder) / target).relative_to("/")
    for name in names:
        found = source / name.lstrip("/")
        if found.is_dir() and source == PROJECT:
            ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(found, to, ignore=ignored, dirs_exist_ok=True)
        elif found.is_dir():
            _copy(found, to)
        else:
            shutil.copy(found, to)


def _prepare(root: Path) -> None:
    """What the slim image is known by, and how this machine reaches others."""
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    for name in OF_THE_MACHINE:
        shutil.copy(f"/{name}", root / name)


def _copy(source: Path, to: Path) -> Path:
    """What is in a folder, as Docker does."""
    to.mkdir(parents=True, exist_ok=True)
    _run(["cp", "-a", "--reflink=auto", f"{source}/.", str(to)])
    return to


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        raise RuntimeError(f"{command[-1]}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
