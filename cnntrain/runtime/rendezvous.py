"""Stub."""


def token_of(environ) -> str:
    """Stub."""
    return ""


def meet(member, *, token) -> tuple[str, ...]:
    """Stub."""
    return member.addresses
