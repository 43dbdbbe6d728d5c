"""Plug-ins of my_project."""
