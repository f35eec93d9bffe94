"""The tables of the registry."""

from registry.models.versions import (
    MAX_FRAMEWORK_LENGTH,
    NAME_PATTERN,
    ModelNotFound,
    ModelVersion,
    ModelVersionQuerySet,
)

__all__ = [
    "MAX_FRAMEWORK_LENGTH",
    "NAME_PATTERN",
    "ModelNotFound",
    "ModelVersion",
    "ModelVersionQuerySet",
]
