"""The book's own machinery: runs the chapters, builds the site, serves it. Started as `python -m lib.book`.

- `layout`: where things lie, and which pages the table of contents lists;
- `key`: the key that decides whether a chapter must run again;
- `runner`: runs chapters, two at a time, and keeps what they printed;
- `outputs`: joins outputs with a notebook's text, and cleans them for the repository;
- `site`: puts the source tree together and calls Jupyter Book on it;
- `sphinx_extension`: what the site needs beyond Jupyter Book (own MathJax, cards, scoreboard, no outside scripts);
- `serve`, `lab`: a web server on 127.0.0.1, and JupyterLab.
"""
