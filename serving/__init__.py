"""Answers requests. Needs a bundle and `requirements/serve.txt`; knows nothing of how the model was made."""
