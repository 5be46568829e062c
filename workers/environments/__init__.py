"""Prebuilt Python environments of a node, which its machines clone in seconds."""
