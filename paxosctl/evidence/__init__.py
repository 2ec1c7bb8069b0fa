"""What nodes hand out of themselves: fetched from running nodes, or packed into a bundle.

Both end as a directory laid out as data directories are, which every verb that reads recordings
can read. Nothing here looks into the files.
"""
