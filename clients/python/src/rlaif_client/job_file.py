"""A job as it is submitted: its file, the files that it names, and the key that makes it one job.

The coordinator fills in defaults and knows the built-in templates, so a job travels as it was written.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

from .errors import ConfigurationError
from .wire.v1 import coordinator_pb2 as wire

#: A job: the path of its file, or its settings as a dictionary with the file's structure.
JobSource: TypeAlias = str | os.PathLike[str] | Mapping[str, Any]
#: Contents of files by the names that the job gives them.
Files: TypeAlias = Mapping[str, bytes | str]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Submission:
    """A job and the files that it names."""

    toml: str
    files: dict[str, bytes]

    @classmethod
    def read(cls, job: JobSource, files: Files | None, seed: int | None) -> Submission:
        """Read everything that the job names: from `files`, or from disk as seen from the job's file.

        A dictionary's files are seen from the working directory.
        """
        if isinstance(job, Mapping):
            settings, folder, text = dict(job), Path(), ""
        else:
            path = Path(job)
            text, folder = _read(path, "the job file").decode("utf-8", errors="replace"), path.parent
            try:
                settings = tomllib.loads(text)
            except tomllib.TOMLDecodeError as error:
                raise ConfigurationError(f"{path}: {error}") from error
        if seed is not None:
            settings["seed"] = seed
        # The author's own text where nothing in it is changed: its lines are what errors are about.
        text = text if text and seed is None else to_toml(settings)
        given = dict(files or {})
        contents = {}
        for name in _named_files(settings):
            content = given.pop(name) if name in given else _read(folder / name, "a file of the job")
            contents[name] = content.encode() if isinstance(content, str) else content
        if given:
            raise ConfigurationError(f"the job names no file {', '.join(map(repr, given))}")
        return cls(text, contents)

    def key(self, *, new: bool) -> str:
        """The submission's hash, so that the same job is one job; with `new` one that no other has."""
        hasher = hashlib.sha256()
        files = ((name.encode(), content) for name, content in sorted(self.files.items()))
        for part in (self.toml.encode(), *chain.from_iterable(files)):
            hasher.update(len(part).to_bytes(8, "little") + part)
        return f"{hasher.hexdigest()}-{time.time_ns()}-{os.getpid()}" if new else hasher.hexdigest()

    def to_wire(self, key: str) -> wire.SubmitJobRequest:
        """As the coordinator reads it."""
        attachments = [
            wire.Attachment(name=name, sha256=hashlib.sha256(content).hexdigest(), content=content)
            for name, content in self.files.items()
        ]
        return wire.SubmitJobRequest(idempotency_key=key, job_toml=self.toml, attachments=attachments)


def _named_files(settings: Mapping[str, Any]) -> list[str]:
    """Files that a job names, each once. What is no table or text is the coordinator's to complain of."""

    def section(name: str) -> Mapping[str, Any]:
        value = settings.get(name)
        return value if isinstance(value, Mapping) else {}

    # All of its data; which of it the job's stages need is not for us to know.
    names = list(section("data").values())
    judges = section("evaluate").get("templates")
    templates = [section("labeler").get("template"), *(judges if isinstance(judges, list | tuple) else ())]
    # Others are built in.
    names += [name for name in templates if isinstance(name, str) and name.endswith(".toml")]
    return list(dict.fromkeys(name for name in names if isinstance(name, str)))


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {what}, {path}: {error.strerror}") from error


def to_toml(settings: Mapping[str, Any]) -> str:
    """Settings as TOML; what is None is left out."""
    lines = (f"{_key(k)} = {_value(v, k)}" for k, v in settings.items() if v is not None)
    return "\n".join(lines) + "\n"


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _text(key)


def _text(text: str) -> str:
    # JSON's escapes are TOML's, but for a character that TOML wants escaped too.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _value(value: Any, path: str) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int():
            return repr(int(value))
        case float():
            # Also what only derives from a float, such as numpy's.
            return repr(float(value))
        case str() | os.PathLike():
            return _text(os.fspath(value))
        case Mapping():
            inner = (f"{_key(k)} = {_value(v, f'{path}.{k}')}" for k, v in value.items() if v is not None)
            return "{ " + ", ".join(inner) + " }"
        case list() | tuple():
            return "[" + ", ".join(_value(v, f"{path}[{i}]") for i, v in enumerate(value)) + "]"
        case _:
            raise ConfigurationError(f"{path} must be a text, number, list or table, not {value!r}")
