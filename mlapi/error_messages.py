"""The messages of DRF's exceptions, as the error format has them."""

MAX_DETAIL_LENGTH = 1000
NON_FIELD_ERRORS = "non_field_errors"


def plain_detail(detail: object) -> str:
    """The message of an error that is not about fields; simplejwt wraps its messages in a dict."""
    if isinstance(detail, dict):
        detail = detail.get("detail", detail)
    return str(detail)


def flatten(detail: object, path: str, errors: dict[str, list[str]]) -> None:
    """Add DRF's nested messages to `errors` by path, such as `a.b[0]`.

    Non-field errors get the path of the object that they belong to.
    """
    if isinstance(detail, dict):
        for name, inner in detail.items():
            is_non_field = name == NON_FIELD_ERRORS
            flatten(inner, path if is_non_field else f"{path}.{name}".lstrip("."), errors)
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            # A list holds either messages, or an entry for each item that is empty if it is valid.
            is_message = isinstance(inner, str)
            flatten(inner, path if is_message else f"{path}[{index}]", errors)
    else:
        errors.setdefault(path or NON_FIELD_ERRORS, []).append(str(detail))


def truncate(text: str) -> str:
    return text if len(text) <= MAX_DETAIL_LENGTH else text[: MAX_DETAIL_LENGTH - 1] + "…"
