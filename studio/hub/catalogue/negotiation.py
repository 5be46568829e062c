"""Which renderer answers: always JSON. `format` in an address is a file's format here."""

from typing import Any

from rest_framework.negotiation import DefaultContentNegotiation


class FormatIsOurs(DefaultContentNegotiation):
    """The framework takes `?format=` for the name of a renderer; the catalogue seeks by it."""

    def filter_renderers(self, renderers: Any, format: str) -> Any:
        """Return all of them."""
        return renderers
