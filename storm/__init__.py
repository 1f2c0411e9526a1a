"""Sends while processes die: hundreds of people, kills at random, and a sum at the end."""
