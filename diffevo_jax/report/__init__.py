"""A page of results that anybody can open: curves, films, tables, in one HTML file.

``page`` takes results, or the files and folders that runs and sweeps leave, and returns
HTML that loads nothing; ``diffevo report RESULT... -o report.html`` writes it.
"""
# isort: skip_file

from diffevo_jax.report.pages import page as page  # results in, HTML out
