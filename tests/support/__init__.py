"""Helpers that several tests share: fixtures on the spot, naive twins, a listener's steps in a browser."""
