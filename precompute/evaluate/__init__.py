"""Judgements: quality of clips, methods by known truths and controls, the paper's experiments, the model card."""
