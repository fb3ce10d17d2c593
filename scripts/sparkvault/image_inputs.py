"""What has to lie in the images' build context and is made elsewhere: the Fargate plugin's jar.

``python -m sparkvault.image_inputs`` puts it there for whoever runs the CDK without `sparkvault deploy`.
"""

import shutil
import sys
from pathlib import Path

from sparkvault.errors import SparkvaultError
from sparkvault.plugins import plugin_jar
from sparkvault.spark_images import context


def put_plugin() -> Path:
    """Build the plugin if need be and put its jar where the Dockerfile takes it. Raises SparkvaultError."""
    place = context() / "fargate" / "jars" / "sparkvault-fargate.jar"
    jar = plugin_jar("fargate")
    if not place.is_file() or place.read_bytes() != jar.read_bytes():
        place.parent.mkdir(exist_ok=True)
        shutil.copyfile(jar, place)
    return place


if __name__ == "__main__":
    try:
        print(put_plugin())
    except SparkvaultError as error:
        sys.exit(f"Error: {error}")
