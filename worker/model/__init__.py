"""The model room: import a base encoder, fine-tune, evaluate, describe. The only importer of torch and transformers."""
