# One Atlas node, small and without root. docs/deploy.md says how to run it.
#
#   docker build -t atlas .                            on Bun
#   docker build -t atlas --build-arg RUNTIME=deno .   on Deno, or node
#
# Nothing here is written to when it runs: a registry must be named by ATLAS_REGISTRY_URL.
# Programs start in exec form, so that SIGTERM reaches the node itself, which then drains.
ARG RUNTIME=bun

FROM node:24.21.0-slim AS node
ENTRYPOINT ["node"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
  CMD ["node", "adapters/server/healthcheck.ts"]

FROM oven/bun:1.4.4-slim AS bun
ENTRYPOINT ["bun", "run"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
  CMD ["bun", "run", "adapters/server/healthcheck.ts"]

FROM denoland/deno:debian-2.9.5 AS deno
# Deno keeps what it compiled there; its own folder belongs to another user.
ENV DENO_DIR=/tmp/deno
ENTRYPOINT ["deno", "run", "-A"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
  CMD ["deno", "run", "-A", "adapters/server/healthcheck.ts"]

# What the lock file says, without what only development needs; no package runs anything.
FROM node AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN ["npm", "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]

FROM ${RUNTIME}
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json deno.json mod.ts node.ts cli.ts ./
COPY src ./src
COPY adapters ./adapters
COPY examples/calc ./examples/calc
COPY examples/channels ./examples/channels
ENV NODE_ENV=production
ENV ATLAS_HOST=0.0.0.0
ENV PORT=8080
EXPOSE 8080
STOPSIGNAL SIGTERM
USER 1000:1000
CMD ["node.ts"]
