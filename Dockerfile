# One image for the service and the workers; docker-compose.yml shows both.
# PyPI's torch brings its CUDA libraries, so the same image runs with and without a GPU.
FROM python:3.11-slim

RUN apt-get update \
    && apt-get install -y --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /app

# The installation links to the packages' folders. It is made while they are still empty, so
# that a change of the code does not install torch again.
COPY LICENSE Makefile README.md pyproject.toml requirements.lock ./
RUN mkdir ni_core worker service \
    && touch ni_core/__init__.py worker/__init__.py service/__init__.py \
    && make install PYTHON=python3.11 VENV=/opt/venv \
    && rm -rf /root/.cache

COPY ni_core ni_core
COPY worker worker
COPY service service

RUN useradd --create-home --uid 10001 ni && mkdir /models && chown ni /models
USER ni
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NI_MODEL_DIR=/models
VOLUME /models
EXPOSE 8000

HEALTHCHECK --interval=10s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
CMD ["ni", "serve", "--host", "0.0.0.0"]
