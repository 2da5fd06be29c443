"""Care of what is known: what was forgotten is brought back, and what is to be forgotten goes; who
touched it.
"""
