from model.cells import load

__all__ = ["load"]
