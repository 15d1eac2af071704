"""What every room uses: cache, progress, files, parallel work, results."""
