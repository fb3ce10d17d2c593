"""CBOR without tags: cbor2 interprets them by default, as dates, bignums, references; nothing here has any."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NoReturn


class TagFound(Exception):
    """The encoding has a tag; cbor2 hands it on as the cause of its own error, or as it is."""


def _refuse_tag(_decoder: object, _immutable: bool = False) -> NoReturn:
    raise TagFound


class _EveryTagRefused(Mapping[int, Callable[..., NoReturn]]):
    """Stands in for cbor2's table of tags, so that no tag is interpreted, not even bignums and dates."""

    def __getitem__(self, tag: int) -> Callable[..., NoReturn]:
        return _refuse_tag

    def __iter__(self) -> Iterator[int]:
        raise NotImplementedError("there is no end to the tags")

    def __len__(self) -> int:
        return 2**64


#: For `semantic_decoders` of cbor2.
NO_TAGS: Final = _EveryTagRefused()
