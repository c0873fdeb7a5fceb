"""The process around the pipeline."""
