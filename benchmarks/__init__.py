"""What the README claims about speed, as scripts anyone can run: ``make bench``."""
