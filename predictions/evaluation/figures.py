"""Numbers and shares as texts: the same in reasons, tables and pages. No Django."""

# From here on, all digits before the point would say more than is known.
LARGE = 1e15


def number(value: float, digits: int = 3) -> str:
    """A number with `digits` significant digits, or with all of its digits before the point."""
    if value == 0:
        return "0"
    if 10**digits - 0.5 <= abs(value) < LARGE:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def percent(share: float, digits: int = 1) -> str:
    """A share as a percentage, such as "31.2 %", with at most `digits` digits after the point.

    Only a share of exactly 0 is shown as 0 %, and only one of exactly 1 as 100 %.
    """
    points, least = share * 100, 10.0**-digits
    if 0 < points < least:
        return f"less than {least:g} %"
    if 100 - least < points < 100:
        return f"more than {100 - least:g} %"
    text = f"{points:.{digits}f}"
    return f"{text.rstrip('0').rstrip('.') if digits else text} %"
