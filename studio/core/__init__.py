"""What every app shares: errors, permissions, pages, audit. No models of the domain."""
