"""The networks of all behavior presets: flow generators, feature extractors, sequence models."""
