"""Where models that were exported before version 0.2 look for their classifier."""

from search.serve.classifier import TextClassifier

__all__ = ["TextClassifier"]
