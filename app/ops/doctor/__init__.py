"""``dlr doctor``: looks at everything that must be right, and says in words what is not."""
