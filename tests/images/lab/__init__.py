"""What the image tests need and a bare machine lacks: a container engine, a base image, a registry.

All of it is the tests' own: started on free ports and sockets in a folder of theirs, ended by pid.
"""
