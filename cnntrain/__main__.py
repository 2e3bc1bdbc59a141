"""`python -m cnntrain`, the same as the command `cnntrain`."""

from cnntrain.cli.main import main

raise SystemExit(main())
