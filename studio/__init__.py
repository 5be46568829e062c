"""The studio: people, points, repos, jobs and the web. It never imports torch."""
