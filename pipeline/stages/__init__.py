"""The stages of dvc.yaml, one module each. Each reads files, writes files, and knows nothing of the others."""
