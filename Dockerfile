# A machine with NVIDIA GPUs: docker build -t xreasoner . && docker run --gpus all -v "$PWD/runs:/work/runs" xreasoner run quickstart
# torch's wheels bring CUDA; the driver comes from the host through the NVIDIA container toolkit.
FROM python:3.12-slim-bookworm

# Triton compiles small kernels with a C compiler, for torch.compile and vLLM.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc=4:12.* libc6-dev=2.36* \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY recipes recipes
COPY src src
# `vllm` pins torch; without a GPU leave out the extra: --build-arg EXTRAS=lora,api
ARG EXTRAS=lora,api,vllm,track
# hadolint ignore=DL3013
RUN pip install --no-cache-dir ".[${EXTRAS}]"

RUN useradd --create-home --uid 1000 xreasoner && mkdir -p /work && chown 1000 /work
USER 1000
WORKDIR /work
# Downloads of models and data: mount a volume here to keep them.
ENV HF_HOME=/work/hub
ENTRYPOINT ["xreasoner"]
CMD ["doctor"]
