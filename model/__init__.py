"""What a fork replaces: where rows come from, what they mean and what learns from them."""

from model.flights import load

__all__ = ["load"]
