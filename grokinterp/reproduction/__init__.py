"""What experiments are made of, and what plans them, trains what is missing and draws them."""
