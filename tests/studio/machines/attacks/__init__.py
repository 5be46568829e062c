"""What one tenant may try against another: tables of attempts, each of which must come to nothing.

`make test-fast` runs these on a real studio; those that need containers are in `tests/deploy`.
"""
