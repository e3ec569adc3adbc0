// Markdown in, events out.
internal import Events
