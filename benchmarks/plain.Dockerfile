# The plain way to the same features: Debian, its Java runtime, pip, and the same jars. What the images are compared to.
FROM debian:bookworm-slim
RUN mkdir -p /usr/share/man/man1 \
    && apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates openjdk-17-jre-headless python3 python3-pip tini \
    && rm -rf /var/lib/apt/lists/*
COPY base/requirements-build.txt base/requirements.txt base/requirements-python.txt build/jars.lock build/fetch_jars.py /
RUN pip install --break-system-packages --no-cache-dir --require-hashes --requirement /requirements-build.txt \
    && pip install --break-system-packages --no-cache-dir --no-build-isolation --require-hashes \
        --requirement /requirements.txt --requirement /requirements-python.txt
ARG MAVEN_MIRROR=https://repo1.maven.org/maven2
RUN python3 /fetch_jars.py /jars.lock "${MAVEN_MIRROR}" /usr/local/lib/python3.11/dist-packages/pyspark/jars
USER 1000
