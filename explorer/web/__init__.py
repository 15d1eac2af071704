"""Guard, media routes, uploads, jobs."""
