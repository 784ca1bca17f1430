"""Who descends from whom when nothing is exact any more: singular directions."""
