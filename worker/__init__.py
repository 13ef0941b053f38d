"""Jobs between the web service and the science: contracts, store, queue, worker, watchdog."""
