"""The only place that knows SQLAlchemy: model objects in, model objects out, never a row."""
