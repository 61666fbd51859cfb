"""Real data to try Stockyard with."""
