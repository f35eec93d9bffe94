"""Why a version's model is not available now. The messages can be shown to the caller."""


class ArtifactMissing(Exception):
    """The version has no artifact yet."""


class ModelNotReady(Exception):
    """The version's artifact cannot be loaded now."""

    retry_after = 10


class ModelQuarantined(Exception):
    """The version ended its process too often, and is not asked until someone releases it."""

    retry_after = 60
