"""Pages about templates: browse, render a row, write one's own."""
