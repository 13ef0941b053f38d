"""`python -m worker`: one worker, told by `NI_...` variables."""

import logging

from ni_core.bundles import ModelCache
from worker.connection import connect
from worker.device import resolve_device
from worker.inference_worker import InferenceWorker
from worker.queue import JobQueue
from worker.settings import Settings
from worker.store import Store

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    logging.getLogger("rq.worker").setLevel(logging.WARNING)  # RQ sets INFO when imported
    settings = Settings()
    redis = connect(settings.redis_url, timeout_s=settings.redis_timeout_s)
    queue = JobQueue(Store(redis, settings))
    device = resolve_device(settings.device)
    models = ModelCache([settings.model_dir], capacity_bytes=settings.cache_bytes, device=device)
    InferenceWorker(queue, models, device).serve()


if __name__ == "__main__":
    main()
