"""Which layers form groups, and how they are cut: plans and what they cost."""
