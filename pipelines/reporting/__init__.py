"""What people look at: charts of a model and its rows, and the page they stand on."""
