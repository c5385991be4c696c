"""The labs: pages in which a reader moves an idea, with the package's numbers and nothing but a browser."""
