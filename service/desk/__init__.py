"""The campaign desk: the people who open, watch and correct campaigns, and what each of them may do."""
