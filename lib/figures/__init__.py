"""Still figures. Each function takes arrays and returns a Matplotlib Figure; none shows it or keeps it open.

palette   one colour, marker and dash per method, shared with the widgets
style     fonts, sizes, PNG
curves    losses over training, quality against network calls, one measure against another
points    2-D clouds, paths, velocity fields
grids     images in rows and columns
tables    a small table of results as Markdown
source    lines of the library, as they stand
"""

from lib.figures.curves import plot_losses, plot_order, plot_quality
from lib.figures.grids import image_grid, image_rows
from lib.figures.palette import MARKS, Mark, marks
from lib.figures.points import plot_clouds, plot_field, plot_paths
from lib.figures.source import show_source
from lib.figures.style import StillFigure, book_style, new_figure, png_bytes
from lib.figures.tables import markdown_table

__all__ = [
    "MARKS",
    "Mark",
    "StillFigure",
    "book_style",
    "image_grid",
    "image_rows",
    "markdown_table",
    "marks",
    "new_figure",
    "plot_clouds",
    "plot_field",
    "plot_losses",
    "plot_order",
    "plot_paths",
    "plot_quality",
    "png_bytes",
    "show_source",
]
