"""`python -m cnntrain`, the same as the command `cnntrain`."""

from cnntrain.cli import main

raise SystemExit(main())
