"""A plan as steps: computations and the transfers they introduce."""
