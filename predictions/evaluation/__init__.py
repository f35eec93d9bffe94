"""How good the answers were: outcomes, live quality, comparisons of an alias's arms, and replays.

Everything here reads recorded predictions. Making a prediction imports nothing from here.
"""
