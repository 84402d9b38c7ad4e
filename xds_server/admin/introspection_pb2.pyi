from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListProxiesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListProxiesResponse(_message.Message):
    __slots__ = ("proxies", "stale")
    PROXIES_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    proxies: _containers.RepeatedCompositeFieldContainer[Proxy]
    stale: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, proxies: _Optional[_Iterable[_Union[Proxy, _Mapping]]] = ..., stale: _Optional[_Iterable[str]] = ...) -> None: ...

class Proxy(_message.Message):
    __slots__ = ("node", "kind", "namespace", "user_agent", "variant", "peer", "connected_seconds", "types")
    NODE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    USER_AGENT_FIELD_NUMBER: _ClassVar[int]
    VARIANT_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    node: str
    kind: str
    namespace: str
    user_agent: str
    variant: str
    peer: str
    connected_seconds: float
    types: _containers.RepeatedCompositeFieldContainer[TypeState]
    def __init__(self, node: _Optional[str] = ..., kind: _Optional[str] = ..., namespace: _Optional[str] = ..., user_agent: _Optional[str] = ..., variant: _Optional[str] = ..., peer: _Optional[str] = ..., connected_seconds: _Optional[float] = ..., types: _Optional[_Iterable[_Union[TypeState, _Mapping]]] = ...) -> None: ...

class TypeState(_message.Message):
    __slots__ = ("type", "state", "version", "error", "answered_seconds", "refused")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    type: str
    state: str
    version: str
    error: str
    answered_seconds: float
    refused: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, type: _Optional[str] = ..., state: _Optional[str] = ..., version: _Optional[str] = ..., error: _Optional[str] = ..., answered_seconds: _Optional[float] = ..., refused: _Optional[_Iterable[str]] = ...) -> None: ...

class TraceRequest(_message.Message):
    __slots__ = ("node", "type", "name")
    NODE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    node: str
    type: str
    name: str
    def __init__(self, node: _Optional[str] = ..., type: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class TraceResponse(_message.Message):
    __slots__ = ("resources",)
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    resources: _containers.RepeatedCompositeFieldContainer[Resource]
    def __init__(self, resources: _Optional[_Iterable[_Union[Resource, _Mapping]]] = ...) -> None: ...

class Resource(_message.Message):
    __slots__ = ("node", "type", "name", "version", "accepted", "state", "origins")
    NODE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ORIGINS_FIELD_NUMBER: _ClassVar[int]
    node: str
    type: str
    name: str
    version: str
    accepted: str
    state: str
    origins: _containers.RepeatedCompositeFieldContainer[Origin]
    def __init__(self, node: _Optional[str] = ..., type: _Optional[str] = ..., name: _Optional[str] = ..., version: _Optional[str] = ..., accepted: _Optional[str] = ..., state: _Optional[str] = ..., origins: _Optional[_Iterable[_Union[Origin, _Mapping]]] = ...) -> None: ...

class Origin(_message.Message):
    __slots__ = ("object", "field", "place")
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    object: str
    field: str
    place: str
    def __init__(self, object: _Optional[str] = ..., field: _Optional[str] = ..., place: _Optional[str] = ...) -> None: ...
