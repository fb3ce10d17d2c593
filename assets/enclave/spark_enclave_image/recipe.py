"""The recipe of the image (`rootfs/recipe.toml`), read and checked."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from spark_enclave_image.errors import EifInputError

RECIPE_FILE: Final = Path(__file__).parent.parent / "rootfs" / "recipe.toml"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Packages(_Part):
    """Names of packages, and patterns of paths → why they are left out."""

    debian: tuple[str, ...] = ()
    python: tuple[str, ...] = ()
    leave_out: dict[str, str] = {}


class Java(Packages):
    """The runtime that jlink makes."""

    modules: tuple[str, ...]


class Natives(_Part):
    """A regular expression over the names of entries in jars."""

    leave_out: str


class Spark(_Part):
    """Which jars stay outside."""

    leave_out: dict[str, str]
    natives: Natives


class Trusted(_Part):
    """Patterns of our own files that go in, and of those among them that do not."""

    include: tuple[str, ...]
    leave_out: dict[str, str]


class Recipe(_Part):
    """The whole recipe."""

    system: Packages
    java: Java
    compression: Packages
    compiler: Packages
    kernel_vm_test: Packages
    spark: Spark
    trusted: Trusted

    @classmethod
    def load(cls, path: Path = RECIPE_FILE) -> Recipe:
        """Read it; raises EifInputError."""
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
            return cls.model_validate({key.replace("-", "_"): value for key, value in data.items()})
        except (OSError, ValueError, ValidationError) as error:
            raise EifInputError(f"The recipe {path} cannot be read: {error}") from None


def left_out(path: str, patterns: dict[str, str]) -> bool:
    """Whether one of the patterns has this path."""
    return any(fnmatchcase(path, pattern) for pattern in patterns)
