# biosig in a container, for a processor or for NVIDIA GPUs.
#
#   docker build --tag biosig .
#   docker build --tag biosig:cuda --build-arg DEVICE=cuda .
#   docker run --rm -v "$PWD":/work biosig doctor
#
# Wheels of torch for CUDA bring its libraries: the host needs the driver and its container toolkit,
# the image no CUDA of its own. --user "$(id -u)" writes as you.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

ARG DEVICE=cpu
ARG CPU_WHEELS=https://download.pytorch.org/whl/cpu
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]

WORKDIR /opt/biosig
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY configs configs
COPY biosig_cli biosig_cli
RUN case "$DEVICE" in \
      cpu) wheels=(--extra-index-url "$CPU_WHEELS") ;; \
      cuda) wheels=() ;; \
      *) echo "DEVICE is cpu or cuda, not $DEVICE" >&2; exit 2 ;; \
    esac; \
    pip install --no-cache-dir --constraint constraints.txt "${wheels[@]}" '.[eeg,tensorboard]'

# Whoever runs it may write there, root nowhere.
RUN useradd --uid 1000 --create-home biosig && mkdir /work /cache && chmod 1777 /work /cache
# By number, so that a cluster can see that it is not root.
USER 1000
ENV BIOSIG_CACHE=/cache \
    HF_HOME=/cache/huggingface \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONUNBUFFERED=1
WORKDIR /work
ENTRYPOINT ["biosig"]
CMD ["--help"]
