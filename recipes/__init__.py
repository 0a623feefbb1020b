"""Recipes: one file is one model, and its file name is the model's name. `zoo.names()` lists this folder."""
