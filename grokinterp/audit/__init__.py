"""The audit: the paper's claims, the rules that judge them, and the statistics behind a verdict."""
