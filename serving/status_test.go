// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/batching"
	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/repository"
)

// TestStatusOfEverySentinel holds each exported sentinel of the packages below to a
// code, also wrapped. A sentinel that is not in the table fails the test.
func TestStatusOfEverySentinel(t *testing.T) {
	cases := map[string]struct {
		err  error
		code codes.Code
		http int
	}{
		"repository.ErrUnknownModel":   {repository.ErrUnknownModel, codes.NotFound, 404},
		"repository.ErrUnknownVersion": {repository.ErrUnknownVersion, codes.NotFound, 404},
		"repository.ErrNoVersion":      {repository.ErrNoVersion, codes.NotFound, 404},
		"repository.ErrNotReady":       {repository.ErrNotReady, codes.Unavailable, 503},
		"repository.ErrBadVersion":     {repository.ErrBadVersion, codes.InvalidArgument, 400},
		"repository.ErrInvalidName":    {repository.ErrInvalidName, codes.InvalidArgument, 400},
		"repository.ErrControlMode":    {repository.ErrControlMode, codes.Unavailable, 503},
		"repository.ErrPoll":           {repository.ErrPoll, codes.Internal, 500},
		"repository.ErrLoadFailed":     {repository.ErrLoadFailed, codes.InvalidArgument, 400},
		"repository.ErrNoPrevious":     {repository.ErrNoPrevious, codes.FailedPrecondition, 400},
		"repository.ErrDuplicate":      {repository.ErrDuplicate, codes.FailedPrecondition, 400},
		"repository.ErrClosed":         {repository.ErrClosed, codes.Unavailable, 503},
		"batching.ErrQueueFull":        {batching.ErrQueueFull, codes.Unavailable, 503},
		"batching.ErrTimeout":          {batching.ErrTimeout, codes.Unavailable, 503},
		"batching.ErrDeadline":         {batching.ErrDeadline, codes.DeadlineExceeded, 504},
		"batching.ErrClosed":           {batching.ErrClosed, codes.Unavailable, 503},
		"batching.ErrInvalidItem":      {batching.ErrInvalidItem, codes.Internal, 500},
		"batching.ErrInvalidOptions":   {batching.ErrInvalidOptions, codes.InvalidArgument, 400},
		"engine.ErrInvalidModel":       {engine.ErrInvalidModel, codes.InvalidArgument, 400},
		"engine.ErrInvalidInput":       {engine.ErrInvalidInput, codes.InvalidArgument, 400},
		"engine.ErrUnavailable":        {engine.ErrUnavailable, codes.Unavailable, 503},
		"modelconfig.ErrInvalidConfig": {modelconfig.ErrInvalidConfig, codes.InvalidArgument, 400},
		"modelconfig.ErrUnsupported":   {modelconfig.ErrUnsupported, codes.Unimplemented, 501},
	}
	for name, c := range cases {
		wrapped := fmt.Errorf("model \"m\": %w", c.err)
		got := toError(wrapped)
		if got.Code != c.code || got.Text != wrapped.Error() {
			t.Errorf("%s: %v %q, want %v", name, got.Code, got.Text, c.code)
		}
		if got := httpStatus(got.Code); got != c.http {
			t.Errorf("%s: HTTP status %d, want %d", name, got, c.http)
		}
	}
	for _, folder := range []string{"../batching", "../engine", "../engine/modelconfig", "../engine/repository"} {
		for _, name := range sentinelsOf(t, folder) {
			if _, covered := cases[name]; !covered {
				t.Errorf("%s has no case here: give it a code in statusRules", name)
			}
		}
	}
}

// sentinelsOf lists the exported variables Err* of a package's source.
func sentinelsOf(t *testing.T, folder string) []string {
	paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: no source: %v", folder, err)
	}
	var names []string
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			names = append(names, sentinelsIn(file.Name.Name, declaration)...)
		}
	}
	if len(names) == 0 {
		t.Fatalf("%s: no sentinels found", folder)
	}
	return names
}

func sentinelsIn(packageName string, declaration ast.Decl) (names []string) {
	variables, ok := declaration.(*ast.GenDecl)
	if !ok || variables.Tok != token.VAR {
		return nil
	}
	for _, spec := range variables.Specs {
		for _, name := range spec.(*ast.ValueSpec).Names {
			if strings.HasPrefix(name.Name, "Err") {
				names = append(names, packageName+"."+name.Name)
			}
		}
	}
	return names
}

// TestStatusOfOtherErrors: what ends a request from outside, our own errors, and
// errors that nobody classified.
func TestStatusOfOtherErrors(t *testing.T) {
	stopped := errors.Join(repository.ErrLoadFailed, repository.ErrClosed)
	for _, c := range []struct {
		err  error
		code codes.Code
		http int
	}{
		{context.Canceled, codes.Canceled, 499},
		{context.DeadlineExceeded, codes.DeadlineExceeded, 504},
		{errors.New("who knows"), codes.Internal, 500},
		{fmt.Errorf("wrapped: %w", errShuttingDown), codes.Unavailable, 503},
		{&Error{codes.ResourceExhausted, "large"}, codes.ResourceExhausted, 413},
		{stopped, codes.Unavailable, 503},
		{backendError(errors.New("onnx runtime error 2")), codes.Internal, 500},
	} {
		if got := toError(c.err); got.Code != c.code || httpStatus(got.Code) != c.http {
			t.Errorf("%v: %v, HTTP %d; want %v, %d", c.err, got.Code, httpStatus(got.Code), c.code, c.http)
		}
	}
	if httpStatus(codes.OK) != 200 {
		t.Error("OK is not 200")
	}
}

// TestLongErrorTextFitsInAHeader: a status quotes what a client sent, within bounds.
func TestLongErrorTextFitsInAHeader(t *testing.T) {
	e := invalidArgument("no model %s", strings.Repeat("ü", 1<<20))
	text := status.Convert(e).Message()
	if len(text) > statusTextMax+3 || !strings.HasPrefix(text, "no model ü") || !strings.HasSuffix(text, "ü...") {
		t.Errorf("%d bytes: %.20s", len(text), text)
	}
}
