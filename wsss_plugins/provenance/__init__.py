"""Makes supervision cards, which record how every number was made, while stages run."""
