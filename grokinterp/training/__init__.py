"""Training: what brings runs to their ends, and the engine that trains several together."""
