"""Window stores on a remote file system: copied once into a cache, checked, used from there.

Windows are read in any order, hundreds of thousands a second, which no network gives. So a store
is copied as a whole, each file checked against the SHA-256 in its manifest, which is written last.
Each time that a store is named, its manifest is asked for again: where it has changed, so has the
store, and the files that differ are copied anew.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from biosig_cli.core.artifacts import atomic_path, read_json, sha256, write_json
from biosig_cli.core.bounds import inside
from biosig_cli.core.errors import BiosigError, ConfigError, DataError
from biosig_cli.core.progress import Reporter
from biosig_cli.core.runtime import Environment, Machine, choose_cache
from biosig_cli.data.download import alone
from biosig_cli.data.integrity import BUILD_CONFIG
from biosig_cli.data.store import MANIFEST, SPLITS

URL = re.compile(r"([a-z][a-z0-9+.-]+):/+(?=[^/])(.+)")
"""A path object makes one slash of the two; a drive of Windows has one letter."""
ORIGIN = "origin.json"
"""Beside a copy: where it came from."""


def local_store(place: str | Path, reporter: Reporter | None = None) -> Path:
    """Return where windows lie on this machine; those at a URL are copied into the cache first.

    Args:
        place: A path, or the URL of a store or of a folder of stores: `s3://bucket/windows`.
        reporter: Who says what is copied.

    Raises:
        ConfigError: If nothing here speaks the URL's protocol.
        DataError: If there is no finished store, or it can't be copied whole.
    """
    found = URL.fullmatch(str(place))
    if found is None:
        return Path(place)
    url = f"{found[1]}://{found[2].rstrip('/')}"
    environment = Environment()
    cache = Path(choose_cache(environment.cache, Machine.detect(devices=False)).value)
    digest = hashlib.sha256(url.encode()).hexdigest()[:16]
    folder = cache / "stores" / f"{PurePosixPath(url).name}-{digest}"
    if folder in _checked:
        return folder
    if environment.offline:
        if not (folder / ORIGIN).is_file():
            raise DataError(f"{url} is not in {cache}", hint="run once without BIOSIG_OFFLINE")
        return folder
    with alone(folder.with_name(f".{folder.name}.lock")):  # of several processes, one copies
        _Copy(url, folder, reporter or Reporter()).bring()
    _checked.add(folder)
    return folder


_checked: set[Path] = set()
"""Copies that this process has compared with what they are of; a training sees one state of it."""


def stated(place: Path) -> str:
    """Return a path as a config says it: the URL, where it is that of a copy."""
    origin = place / ORIGIN
    return str(read_json(origin)["url"]) if origin.is_file() else str(place)


def _local(value: Any) -> Any:
    return local_store(value) if isinstance(value, str | Path) else value


StorePath = Annotated[Path, BeforeValidator(_local), PlainSerializer(stated, return_type=str)]
"""Where windows lie: a path, or a URL, whose copy is used; the config goes on to say the URL."""


class _Copy:
    """Brings what is at a URL into a folder."""

    def __init__(self, url: str, folder: Path, reporter: Reporter) -> None:
        self.url, self.folder, self.reporter = url, folder, reporter
        self.files, self.root = _file_system(url)

    def bring(self) -> None:
        """Copy what is not here, or has changed.

        Raises:
            DataError: If there is no finished store, or it can't be copied whole.
        """
        manifests = {"": self._read(MANIFEST)}
        if manifests[""] is None:
            manifests = {split: self._read(f"{split}/{MANIFEST}") for split in SPLITS}
        there = {name: content for name, content in manifests.items() if content is not None}
        if not there:
            raise DataError(
                f"no finished store at {self.url}: it has no {MANIFEST}, and none in "
                f"{', '.join(SPLITS)}",
                hint="give the URL of the folder that build-windows wrote, copied there as a whole",
            )
        for split in {"", *SPLITS} - there.keys():
            (self.folder / split / MANIFEST).unlink(missing_ok=True)
        for split, manifest in there.items():
            self._bring_store(split, manifest)
        how = self._read(BUILD_CONFIG)
        if how is not None:
            _write(self.folder / BUILD_CONFIG, how)
        write_json(self.folder / ORIGIN, {"url": self.url})

    def _bring_store(self, split: str, manifest: bytes) -> None:
        here = self.folder / split
        known = here / MANIFEST
        if known.is_file() and known.read_bytes() == manifest:
            return
        is_new = not known.is_file()
        known.unlink(missing_ok=True)  # what is here is no whole store until the end
        wanted = {
            name: digest
            for name, digest in _listed(manifest, f"{self.url}/{split}").items()
            if not (path := inside(here, name)).is_file() or sha256(path) != digest
        }
        what = f"{self.url}/{split}".rstrip("/")
        self.reporter.say(f"{what} {'is' if is_new else 'has changed, and is'} copied to {here}")
        with self.reporter.progress(f"copying {split or what}: files", len(wanted)) as advance:
            for name, digest in wanted.items():
                self._bring_file(f"{split}/{name}".lstrip("/"), here / name, digest)
                advance(note=name)
        _write(known, manifest)

    def _bring_file(self, name: str, path: Path, digest: str) -> None:
        with atomic_path(path) as temporary:
            try:
                with self._asking(name):
                    self.files.get_file(f"{self.root}/{name}", str(temporary))
            except FileNotFoundError:
                raise DataError(
                    f"{self.url}/{name} is not there, and the manifest beside it names it",
                    hint="copy the folder that build-windows wrote there as a whole",
                ) from None
            if sha256(temporary) != digest:
                raise DataError(
                    f"{self.url}/{name} is not what its manifest says: it was cut on its way, or "
                    "the store was written while it was copied",
                    hint="run the command again; what is here already stays",
                )

    def _read(self, name: str) -> bytes | None:
        """Return a small file, None where there is none."""
        try:
            with self._asking(name):
                return bytes(self.files.cat_file(f"{self.root}/{name}"))
        except FileNotFoundError:
            return None

    @contextmanager
    def _asking(self, name: str) -> Iterator[None]:
        """Turn what goes wrong into an error of ours; a file that is not there is no such thing."""
        try:
            yield
        except (FileNotFoundError, BiosigError):
            raise
        except Exception as error:  # each file system has errors of its own
            said = str(error) or type(error).__name__
            raise DataError(
                f"{self.url}/{name} can't be read: {said}",
                hint="check address, network and credentials, and run the command again: files "
                "that are whole stay; BIOSIG_OFFLINE=1 uses a copy that is here without asking",
            ) from None


def _file_system(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path on it.

    Raises:
        ConfigError: If nothing here speaks its protocol.
    """
    import fsspec

    try:
        files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except (ValueError, ImportError) as error:
        protocol = url.partition(":")[0]
        raise ConfigError(
            f"{url}: {error}",
            hint=f"install the package that speaks {protocol} for fsspec: s3fs for s3, gcsfs for "
            "gs, adlfs for az; or copy the folder here and give its path",
        ) from None
    return files, str(root).rstrip("/")


def _listed(manifest: bytes, where: str) -> dict[str, str]:
    """Return the SHA-256 of each file of a store, by its name.

    Raises:
        DataError: If the manifest is damaged.
    """
    try:
        facts: Mapping[str, Any] = json.loads(manifest)
        named = [facts["index"], *facts["shards"]]
        named += [shard["target"] for shard in facts["shards"] if "target" in shard]
        listed = {str(each["file"]): str(each["sha256"]) for each in named}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{where}/{MANIFEST} is not the manifest of a store: {error!r}",
            hint="give the URL of the folder that build-windows wrote",
        ) from None
    return listed


def _write(path: Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
