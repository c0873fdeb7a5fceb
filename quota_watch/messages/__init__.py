"""Facts of a transition, and what a person reads of them."""
