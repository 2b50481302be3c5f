"""The book and the accounts a worker reads by: loaded, kept, replaced whole."""
