"""RabbitMQ in, domain verbs out."""
