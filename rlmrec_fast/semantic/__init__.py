"""Texts about users and items: language models write them, encoders turn them into vectors."""
