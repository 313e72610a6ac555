"""From a bundle that passed to a commit that releases it: release, promote, rollback, hold. Git is the only truth."""
