def document(signature, version, settings): return {}
