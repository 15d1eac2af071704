"""Helpers of every room: cache, progress, files, parallel work, result files, seeds."""
