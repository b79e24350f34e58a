"""Runs the data flow: `python run.py`, again and again; what is cached is not submitted."""

import flow
from hamilton import driver

from buildhpc.hamilton import HpcExecutionManager, status

if __name__ == "__main__":
    dataflow = (
        driver.Builder()
        .with_modules(flow)
        .with_cache()
        .enable_dynamic_execution(allow_experimental_mode=True)
        .with_execution_manager(HpcExecutionManager())
        .build()
    )
    found = dataflow.execute(["page", "words"], inputs={"most": 4})
    print(f"{found['words']} words, see {found['page']}")
    print(status())
