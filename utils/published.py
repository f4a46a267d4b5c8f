"""Twenty published language models, 2017 to 2024: their shapes, sizes and training tokens."""
