"""The view, which is the address of the page, and the events that lead to the next view."""
