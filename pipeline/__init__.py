"""From a model to a gated release."""
