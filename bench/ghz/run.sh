#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Drives a server with ghz, a load generator that is not ours, on the workloads of
# the benchmarks. It builds the pinned ghz, starts bin/millrace on a model
# repository of its own, runs every configuration beside this script, or those
# given as arguments, and stops the server.
#
# GHZ_PORT is the server's gRPC port (default 18761).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
port=${GHZ_PORT:-18761}
work=.millrace/ghz
ghz=.millrace/bin/ghz

[ -x bin/millrace ] || { echo "bench-ghz: bin/millrace is missing; run make build" >&2; exit 1; }

mkdir -p "$work" .millrace/bin
(cd bench/ghz/tools && go build -o "../../../$ghz" github.com/bojand/ghz/cmd/ghz)
go run ./bench/ghz/gen "$work"

bin/millrace serve --model-repository "$work/models" --grpc-address 127.0.0.1 --grpc-port "$port" \
  --allow-http=false --allow-metrics=false >"$work/server.log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM

# ready sends a request until it is answered, for at most about 30 seconds.
ready() {
  tries=0
  while [ "$tries" -lt 60 ]; do
    kill -0 "$server" 2>/dev/null || break
    if "$ghz" --insecure --proto proto/inference/grpc_service.proto --import-paths proto \
      --call inference.GRPCInferenceService.ModelInfer --binary-file "$work/mlp_middle_1.bin" \
      --connect-timeout 1s -n 1 -c 1 --format json "127.0.0.1:$port" 2>/dev/null | grep -q '"OK": *1'; then
      return 0
    fi
    tries=$((tries + 1))
    sleep 0.5
  done
  echo "bench-ghz: the server did not get ready; it wrote:" >&2
  tail -n 20 "$work/server.log" >&2
  return 1
}
ready

[ "$#" -gt 0 ] || set -- "$here"/*.json
for config in "$@"; do
  "$ghz" --config "$config" "127.0.0.1:$port"
done
