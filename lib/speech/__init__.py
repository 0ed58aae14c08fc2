"""Speech: corpora, features, augmentation, metrics. Knows no system."""
