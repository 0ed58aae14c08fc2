"""Solutions, for teachers and for the tests. They are never part of the site."""
