"""What surrounds the project: images, tools, a cluster on one machine."""
