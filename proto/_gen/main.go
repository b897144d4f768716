// SPDX-License-Identifier: Apache-2.0

// Command _gen writes the Go code of the wire contracts without protoc: it parses
// the .proto files with protocompile and feeds protoc-gen-go and
// protoc-gen-go-grpc, both pinned in this module.
//
// Run it through `make generate`, from proto/_gen.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const protoRoot = ".."

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "proto/_gen:", err)
		os.Exit(1)
	}
}

func run() error {
	files, err := protoFiles()
	if err != nil {
		return err
	}
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{protoRoot}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	compiled, err := compiler.Compile(context.Background(), files...)
	if err != nil {
		return err
	}
	request := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: files,
		Parameter:      proto.String("paths=source_relative"),
	}
	seen := map[string]bool{}
	for _, fd := range compiled {
		addWithImports(request, fd, seen)
	}
	for _, plugin := range []string{
		"google.golang.org/protobuf/cmd/protoc-gen-go",
		"google.golang.org/grpc/cmd/protoc-gen-go-grpc",
	} {
		if err := generate(plugin, request); err != nil {
			return fmt.Errorf("%s: %w", plugin, err)
		}
	}
	return nil
}

// protoFiles lists every .proto below the root, relative to it, in a fixed order.
func protoFiles() ([]string, error) {
	var files []string
	err := filepath.WalkDir(protoRoot, func(path string, entry os.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".proto" {
			name, relErr := filepath.Rel(protoRoot, path)
			files, err = append(files, filepath.ToSlash(name)), relErr
		}
		return err
	})
	return files, err
}

// addWithImports appends fd after the files it imports, as plugins require.
func addWithImports(request *pluginpb.CodeGeneratorRequest, fd protoreflect.FileDescriptor, seen map[string]bool) {
	if seen[fd.Path()] {
		return
	}
	seen[fd.Path()] = true
	for i := 0; i < fd.Imports().Len(); i++ {
		addWithImports(request, fd.Imports().Get(i).FileDescriptor, seen)
	}
	var descriptor *descriptorpb.FileDescriptorProto = protoutil.ProtoFromFileDescriptor(fd)
	request.ProtoFile = append(request.ProtoFile, descriptor)
}

func generate(plugin string, request *pluginpb.CodeGeneratorRequest) error {
	input, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	cmd := exec.Command("go", "run", plugin)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), os.Stderr
	output, err := cmd.Output()
	if err != nil {
		return err
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(output, &response); err != nil {
		return err
	}
	if response.Error != nil {
		return fmt.Errorf("plugin: %s", *response.Error)
	}
	for _, file := range response.File {
		path := filepath.Join(protoRoot, file.GetName())
		if err := os.WriteFile(path, []byte(file.GetContent()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
