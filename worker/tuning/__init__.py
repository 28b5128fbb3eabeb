"""How fast the inference server answers batches of each size, and which size to choose: `polyvox calibrate`."""
