"""A project of one's own: three models, each with its loss and its data, as tasks."""
