"""The sentences of the tabs and reports. Refusals stand where they are raised, labels of a part in its script."""
