"""What may be texted: the book, how a text is read by it, and the file that changes it."""
