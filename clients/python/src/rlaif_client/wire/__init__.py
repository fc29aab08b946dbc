"""What travels between client and services, generated from the protos."""
