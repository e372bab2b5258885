"""What the Flex Template's launcher runs: `instrux render` with the template's parameters."""

import sys

from launch.cli import main

if __name__ == "__main__":
    sys.exit(main(["render", *sys.argv[1:]]))
