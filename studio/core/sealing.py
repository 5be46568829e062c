"""Seals a text by this studio's key: who reads the database or a cookie alone does not open it."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings


def seal(purpose: str, text: str) -> str:
    """Return the text, to be opened for the same purpose alone."""
    return _fernet(purpose).encrypt(text.encode()).decode()


def unseal(purpose: str, sealed: str) -> str:
    """Return the text; blank where it is not of this purpose, or the studio's key is another."""
    try:
        return _fernet(purpose).decrypt(sealed.encode()).decode()
    except InvalidToken:
        return ""


def _fernet(purpose: str) -> Fernet:
    key = hashlib.sha256(f"{purpose} {settings.SECRET_KEY}".encode()).digest()
    return Fernet(base64.urlsafe_b64encode(key))
