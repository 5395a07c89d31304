"""ulmo look: a recording, its tokens and its repeats, as one page to look at and listen to."""
