"""How every shipped network was trained."""
