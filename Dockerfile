# The broker, its commands and nothing else: one static binary. `.ci/run image` runs the same binary in an empty chroot.
#
#	docker build -t tidings .
#	docker run -p 127.0.0.1:9092:9092 -v tidings:/data tidings
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -o /out/tidings ./cmd/tidings && mkdir /out/data /out/tmp

FROM scratch
COPY --from=build --chown=65532:65532 /out/ /
USER 65532:65532
VOLUME /data
EXPOSE 9092
ENTRYPOINT ["/tidings"]
# --insecure: there is no authentication yet, so the port is published to this machine alone (see SECURITY.md).
CMD ["serve", "--data", "/data", "--listen", "0.0.0.0:9092", "--advertise", "localhost:9092", "--insecure"]
