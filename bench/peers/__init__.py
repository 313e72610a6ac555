"""The servers Flightline is compared with, each written as its own documentation advises; they run in `.venv-bench`."""
