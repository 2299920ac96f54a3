"""The neighbours' protocols: each a folder with a codec, a handler and a client."""
