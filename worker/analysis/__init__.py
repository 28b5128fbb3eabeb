"""From texts to analyses: tokens to batches, the `Inference` contract, logits to labels and spans."""
