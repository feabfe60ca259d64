"""How a rule becomes an optax transformation: one state, one guard, one way through a tree."""
