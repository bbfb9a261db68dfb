"""The kit's images: what goes into them (recipe), how they are made (build), and what is in them (manifest).

env -> recipe -> build -> manifest. A recipe is pure data; only `engine` talks to the container engine and
only `sources` to git.
"""
