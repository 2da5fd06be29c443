"""The nouns everybody shares: pure values and rules, no I/O and no framework."""
