# One image for gate, worker, console and init: the command says which.
#
#   docker build -t tidegate:local .
#   docker run --rm tidegate:local --help
#
# It runs as a user without a name on the host, needs no capability, and writes nothing: start it with --read-only.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# The environment that is shipped gets no pip of its own: whoever breaks in shall not find an installer.
RUN python -m venv /build && python -m venv --without-pip /opt/tidegate
# Before the source, so that a changed line of it does not fetch every package again.
COPY requirements-build.lock requirements-runtime.lock ./
RUN python -m pip --python /build/bin/python install --require-hashes -r requirements-build.lock \
 && python -m pip --python /opt/tidegate/bin/python install --require-hashes --only-binary :all: -r requirements-runtime.lock
COPY pyproject.toml README.md LICENSE schema.sql ./
COPY tidegate tidegate
COPY ingest ingest
COPY consumer consumer
COPY dlq dlq
RUN /build/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
 && python -m pip --python /opt/tidegate/bin/python install --no-deps --no-index /wheel/*.whl

FROM ${BASE}
LABEL org.opencontainers.image.title="Tidegate" \
      org.opencontainers.image.description="A stream processor for webhooks on Redis Streams and Postgres" \
      org.opencontainers.image.licenses="Apache-2.0"
# A fixed number, so that a mounted secret can be given to it, and Kubernetes can see that it is not root.
RUN groupadd --gid 10001 tidegate \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /app --shell /usr/sbin/nologin tidegate
COPY --from=build /opt/tidegate /opt/tidegate
# Bytecode was compiled above; the user could not write it, nor should it be able to.
ENV PATH=/opt/tidegate/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# tidegate.toml is looked for here, and MODULE:HANDLERS: mount or copy both into it.
WORKDIR /app
USER 10001:10001
# gate, console, a worker's health and metrics
EXPOSE 8080 8081 9464
# The gate's port, unless HEALTH_PORT names another. http.client and not urllib: that would ask a configured proxy for us.
ENV HEALTH_PORT=8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['HEALTH_PORT']), timeout=4); c.request('GET', '/livez'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["tidegate"]
CMD ["--help"]
