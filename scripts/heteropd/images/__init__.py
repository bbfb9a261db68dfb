"""The kit's images: what decides them (recipe), how they are made (bake, build), what is in them (contents).

env -> recipe -> bake file -> image -> contents. A recipe is pure data.
"""
