"""The server side of the Xet protocol, specification 1.1.0: files as chunks that are stored once.

Formats: `hashes`, `chunking`, `xorbs`, `shards`. What is kept: `models`. What is done: `services`,
`ingest`, `reading`. Doors: `apis`. Source: https://huggingface.co/docs/xet (facts and layouts).
"""
