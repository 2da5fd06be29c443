"""The only place that knows iovox or XML: one send out, and the headers its receipts come with."""
