"""The engines: they make and run models. They know nothing of users, points, Django or Celery."""
