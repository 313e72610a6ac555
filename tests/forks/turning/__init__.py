from model.tastes import load

__all__ = ["load"]
