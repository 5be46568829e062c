"""The Hugging Face Hub's HTTP API, as far as its clients need it to fetch and to push small repos.

`HF_ENDPOINT=<studio>` makes `huggingface_hub`, `transformers` and `datasets` work against it. Files
go the `regular` way, inside the commit, so no client needs Xet or LFS here; see docs/decisions/005.
"""
