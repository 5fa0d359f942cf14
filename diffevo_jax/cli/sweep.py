"""``diffevo sweep``."""


def sweep(args: list[str]) -> int:
    """Run."""
    return 0
