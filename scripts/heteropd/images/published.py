""".heteropd/published/TAG.yaml: images by digest, to run exactly what was published."""

from pathlib import Path

import yaml

from heteropd.config import yamlfile
from heteropd.config.published import Published

_HEADER = """\
# Written by `make publish`: what was published. A reference with a digest is the same image for ever.
"""


def folder(root: Path, tag: str) -> Path:
    """Where the documents of a tag's images are kept; the file is beside it."""
    return root / ".heteropd" / "published" / tag


def add(root: Path, tag: str, new: Published) -> Path:
    """Add to the file of the tag: images that it names already are replaced, others stay."""
    file = folder(root, tag).with_name(f"{tag}.yaml")
    old = yamlfile.load(Published, file, root).images if file.exists() else {}
    made = new.model_copy(update={"images": {**old, **new.images}})
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    body = yaml.safe_dump(made.model_dump(mode="json"), sort_keys=False, width=200)
    part.write_text(_HEADER + body, encoding="utf-8")
    part.replace(file)
    return file
