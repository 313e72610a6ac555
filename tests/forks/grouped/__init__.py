from model.shops import load

__all__ = ["load"]
