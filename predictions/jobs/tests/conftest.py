from predictions.testing.jobs import register_kind

__all__ = ["register_kind"]
