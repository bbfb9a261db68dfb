# The packages of an image's locks as files, for `make bundle`. It runs on the image's own base, so that they are
# those of its Python and platform, and its result is a folder, not an image.
ARG BASE

FROM scratch AS wheels

FROM ${BASE} AS collect
ARG LOCKS
ARG SPECIAL_LOCK
ARG INDEX
COPY env/locks env/locks
RUN --mount=type=bind,source=docker/common,target=/common \
    --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=secret,id=site,target=/run/site \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=cache,target=/root/.cache \
    --mount=type=bind,source=docker/programs/collect.sh,target=/collect.sh \
    LOCKS="${LOCKS}" SPECIAL_LOCK="${SPECIAL_LOCK}" INDEX="${INDEX}" bash /collect.sh /out

FROM scratch AS image
COPY --from=collect /out/ /
