"""What became of the predictions: outcomes, live quality, comparisons, replays. It reads
`Prediction`; nothing on the path of a prediction imports it.
"""
