"""Loading, adapting and making models. Files are safetensors only, and no code comes with them."""
