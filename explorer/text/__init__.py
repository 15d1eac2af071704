"""Everything a person reads: sentences, labels, badges."""
