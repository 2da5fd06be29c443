"""What makes the documents of this folder that are made from the code."""
