"""Stage 1, accept: validate what is published, fan it out, make both durable, acknowledge."""
