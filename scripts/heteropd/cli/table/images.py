"""Images: build, lock, publish, bundle."""

from heteropd.cli.options import Option, Verb, flag
from heteropd.cli.table.common import BASE, IMAGE_NAMES, PINS, VARIANT

_MODULE = "heteropd.cli.verbs.images"

IMAGES = (
    Verb(
        "build",
        "Build images side by side from their locks",
        f"{_MODULE}:build",
        (
            IMAGE_NAMES,
            PINS,
            VARIANT,
            BASE,
            Option("source", "the folder of a source tree, by hand", "FOLDER", "keyed"),
            Option("part", "installed software or wheels: a folder, or one of an image", "FOLDER", "keyed"),
            Option("lock", "a lock of env/locks, by hand", "FILE"),
            Option("cache", "take layers from this registry, and leave them there", "REGISTRY/PATH"),
            Option("bundle", "take every input from a bundle", "FOLDER"),
            flag("unlocked", "build although something is not pinned; labelled as not locked"),
            flag("no_cache", "every step anew"),
            flag("offline", "no network while building"),
            flag("print", "show what docker buildx bake would be given; build nothing"),
        ),
        words="images",
        page="docs/images.md",
        examples=('images="cpu router"', "images=gaudi part.ucx=image://REF@sha256:DIGEST:/path"),
    ),
    Verb(
        "lock",
        "Resolve what pin sets leave open into env/locks, or say what has moved upstream",
        f"{_MODULE}:lock",
        (
            Option("pins", "this pin set only", "SET"),
            flag("check", "say what has moved upstream; changes nothing"),
            flag("update", "ask anew for what is locked already"),
            flag("json", "with check=1: for programs"),
        ),
        bare_flags=True,
        page="docs/publishing.md",
        examples=("", "check=1"),
    ),
    Verb(
        "publish",
        "Push images under tags that never change, with digests, SBOM and provenance",
        f"{_MODULE}:publish",
        (
            IMAGE_NAMES,
            Option("registry", "where to", "HOST/NAMESPACE"),
            PINS,
            VARIANT,
            Option("sign", "sign what was pushed: with cosign", "PROGRAM"),
            flag("unlocked", "push what is not locked, under a tag that says so"),
            flag("dry_run", "say what would be pushed"),
        ),
        words="images",
        page="docs/publishing.md",
        examples=('images="cpu router" registry=ghcr.io/my-team/heteropd dry_run=1',),
    ),
    Verb(
        "bundle",
        "Collect every input of images, to build them without a network",
        f"{_MODULE}:bundle",
        (
            IMAGE_NAMES,
            Option("to", "a new or empty folder (default: .heteropd/bundle)", "FOLDER"),
            PINS,
            VARIANT,
            BASE,
            Option("part", "a folder of a published image", "image://REF@sha256:…:/path", "keyed"),
        ),
        words="images",
        page="docs/publishing.md",
        examples=('images="cpu router" to=FOLDER',),
    ),
)
