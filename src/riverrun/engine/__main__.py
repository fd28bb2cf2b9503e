"""`python -m riverrun.engine [ID]`: execute the flow run that ID or RIVERRUN__FLOW_RUN_ID names. What workers start."""

import sys

from riverrun.execution import main

sys.exit(main())
