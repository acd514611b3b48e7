"""The endpoint itself, as a pure model: queue, workers, scaler, retention, limits."""
