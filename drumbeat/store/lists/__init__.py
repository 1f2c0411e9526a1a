"""What the pages list: queries by filter, paged by key."""
