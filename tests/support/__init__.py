"""What the tests and the benchmarks stand on: real servers, a faulty network and a load.

Nothing here imports ``app``: what is tested is started as users start it.
"""
