// SPDX-License-Identifier: Apache-2.0

//go:build tools

package main

// The plugins are pinned here so that `go run` finds them at one version.
import (
	_ "google.golang.org/grpc/cmd/protoc-gen-go-grpc"
	_ "google.golang.org/protobuf/cmd/protoc-gen-go"
)
