"""Judgement by retraining: do a method's scores predict what a model becomes without some of the works?"""
