"""Readers of labelled projects, and the data sets that training and validation draw from."""
