"""Programs that use a studio from outside, through its public API only."""
