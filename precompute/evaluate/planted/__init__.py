"""Methods judged by planted truths."""
