"""``python -m videollama2.cli``: the same as the `videollama2` program."""

import sys

from videollama2.cli.main import main

sys.exit(main())
