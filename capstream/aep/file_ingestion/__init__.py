"""Fetches the files of file flows and hands their rows to the pipeline. Source: batch-ingestion.md B4-B6."""
