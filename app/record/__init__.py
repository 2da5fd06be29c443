"""Care of the record: the journal, retention, erasure, the audit and the evidence log."""
