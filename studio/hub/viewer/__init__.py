"""Looking into datasets without reading them whole: tables, rows, statistics, media."""
