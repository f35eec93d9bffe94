"""The inputs on which the models of `bad_models` turn bad."""

# A last feature with which the loop of `endless.onnx` runs for hours.
ENDLESS = 1e9
# Within 0.05 of this first feature, `poison.txt` reads far outside of the row.
POISON = 1234.5
