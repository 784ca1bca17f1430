"""Models as files, in a folder or on the Hub: what they hold, and their elements by checked byte ranges."""
