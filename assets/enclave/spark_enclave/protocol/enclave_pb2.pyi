# Generated from enclave.proto by `python -m tests.enclave.generated_protocol`; do not edit.
# ruff: noqa
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AttestRequest(_message.Message):
    __slots__ = ("nonce",)
    NONCE_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    def __init__(self, nonce: _Optional[bytes] = ...) -> None: ...

class AttestReply(_message.Message):
    __slots__ = ("document", "binding")
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    BINDING_FIELD_NUMBER: _ClassVar[int]
    document: bytes
    binding: bytes
    def __init__(self, document: _Optional[bytes] = ..., binding: _Optional[bytes] = ...) -> None: ...

class OpenSessionRequest(_message.Message):
    __slots__ = ("nonce", "sealed")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    sealed: bytes
    def __init__(self, nonce: _Optional[bytes] = ..., sealed: _Optional[bytes] = ...) -> None: ...

class OpenSessionReply(_message.Message):
    __slots__ = ("session_id", "server_random", "sealed")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SERVER_RANDOM_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    session_id: bytes
    server_random: bytes
    sealed: bytes
    def __init__(
        self, session_id: _Optional[bytes] = ..., server_random: _Optional[bytes] = ..., sealed: _Optional[bytes] = ...
    ) -> None: ...

class PutTableRequest(_message.Message):
    __slots__ = ("header", "content")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    header: SealedMessage
    content: bytes
    def __init__(
        self, header: _Optional[_Union[SealedMessage, _Mapping[str, object]]] = ..., content: _Optional[bytes] = ...
    ) -> None: ...

class PutTableReply(_message.Message):
    __slots__ = ("sealed",)
    SEALED_FIELD_NUMBER: _ClassVar[int]
    sealed: bytes
    def __init__(self, sealed: _Optional[bytes] = ...) -> None: ...

class QueryRequest(_message.Message):
    __slots__ = ("message",)
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    message: SealedMessage
    def __init__(self, message: _Optional[_Union[SealedMessage, _Mapping[str, object]]] = ...) -> None: ...

class QueryReply(_message.Message):
    __slots__ = ("sealed",)
    SEALED_FIELD_NUMBER: _ClassVar[int]
    sealed: bytes
    def __init__(self, sealed: _Optional[bytes] = ...) -> None: ...

class SealedMessage(_message.Message):
    __slots__ = ("session_id", "number", "sealed")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    session_id: bytes
    number: int
    sealed: bytes
    def __init__(
        self, session_id: _Optional[bytes] = ..., number: _Optional[int] = ..., sealed: _Optional[bytes] = ...
    ) -> None: ...

class FetchResultRequest(_message.Message):
    __slots__ = ("session_id", "number", "ticket")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    session_id: bytes
    number: int
    ticket: bytes
    def __init__(
        self, session_id: _Optional[bytes] = ..., number: _Optional[int] = ..., ticket: _Optional[bytes] = ...
    ) -> None: ...

class ResultChunk(_message.Message):
    __slots__ = ("index", "end", "sealed")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    index: int
    end: bool
    sealed: bytes
    def __init__(
        self, index: _Optional[int] = ..., end: _Optional[bool] = ..., sealed: _Optional[bytes] = ...
    ) -> None: ...

class HealthRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class HealthReply(_message.Message):
    __slots__ = ("ready", "sessions", "sessions_most", "waiting", "protocol_version")
    READY_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_MOST_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    ready: bool
    sessions: int
    sessions_most: int
    waiting: int
    protocol_version: int
    def __init__(
        self,
        ready: _Optional[bool] = ...,
        sessions: _Optional[int] = ...,
        sessions_most: _Optional[int] = ...,
        waiting: _Optional[int] = ...,
        protocol_version: _Optional[int] = ...,
    ) -> None: ...
