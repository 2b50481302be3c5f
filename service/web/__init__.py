"""The public pages: words in two languages, templates, styles and the script that keeps them live."""
