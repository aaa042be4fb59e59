"""Numbers about numbers: intervals, choices, baselines."""
