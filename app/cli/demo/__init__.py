"""`dlr demo`: the whole service against a simulated iovox, judged by what it says became of texts.

Both run as real processes and talk real HTTP. Nothing outside a temporary folder is touched.
"""
