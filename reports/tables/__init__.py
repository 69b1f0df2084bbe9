"""The tables of a comparison, as cells, for the terminal, Markdown, LaTeX and the page."""
