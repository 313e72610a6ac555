"""What a pull request's own run found, as an artifact; and what main's code says of it on the pull request."""
