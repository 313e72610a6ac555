from model.minutes import load

__all__ = ["load"]
