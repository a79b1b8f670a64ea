"""Every LN placement as a HookedTransformer: parts, and what builds and compares models."""
