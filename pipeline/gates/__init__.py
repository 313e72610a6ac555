"""The gates: pure decisions over typed inputs, one module each. What they decide is told in docs/gates.md."""
