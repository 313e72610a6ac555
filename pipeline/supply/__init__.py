"""What proves an image: an SBOM, a provenance statement and signatures, all kept beside it in its registry."""
