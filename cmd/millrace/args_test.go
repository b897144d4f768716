// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
)

// runCommand executes a command line in this process.
func runCommand(t *testing.T, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	status = execute(context.Background(), args, strings.NewReader(stdin), &out, &errOut)
	return status, out.String(), errOut.String()
}

func TestJoinBooleans(t *testing.T) {
	tests := []struct{ in, want []string }{
		{[]string{"serve", "--allow-http", "false"}, []string{"serve", "--allow-http=false"}},
		{[]string{"serve", "--allow-http", "1", "--http-port", "0"}, []string{"serve", "--allow-http=1", "--http-port", "0"}},
		{[]string{"serve", "--allow-http=true", "--exit-on-error"}, []string{"serve", "--allow-http=true", "--exit-on-error"}},
		{[]string{"serve", "--allow-http", "--http-port", "1"}, []string{"serve", "--allow-http", "--http-port", "1"}},
		{[]string{"serve", "--", "--allow-http", "false"}, []string{"serve", "--", "--allow-http", "false"}},
		{[]string{"nonsense", "--allow-http", "false"}, []string{"nonsense", "--allow-http", "false"}},
	}
	for _, test := range tests {
		if got := joinBooleans(newRootCommand(), test.in); !slices.Equal(got, test.want) {
			t.Errorf("joinBooleans(%q) = %q, want %q", test.in, got, test.want)
		}
	}
}

func TestEditDistance(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"grpc-port", "grpc-port", 0},
		{"kitten", "sitting", 3}, {"http-prot", "http-port", 2},
	}
	for _, test := range tests {
		if got := editDistance(test.a, test.b); got != test.want {
			t.Errorf("editDistance(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

func TestExitStatus(t *testing.T) {
	tests := []struct {
		args   []string
		status int
		text   string // expected in the output of either kind
	}{
		{[]string{"version"}, exitOK, "millrace dev ("},
		{[]string{"--version"}, exitOK, "millrace dev ("},
		{nil, exitOK, "Available Commands:"},
		{[]string{"srve"}, exitUsage, `unknown command "srve"`},
		{[]string{"models", "lst"}, exitUsage, `unknown command "lst" for "millrace models"`},
		{[]string{"serve", "--model-repositry", "x"}, exitUsage, "did you mean --model-repository?"},
		{[]string{"serve", "--http-port", "many"}, exitUsage, "--http-port"},
		{[]string{"bench"}, exitUsage, "model"},
		{[]string{"version", "now"}, exitUsage, `unknown command "now"`},
	}
	for _, test := range tests {
		status, stdout, stderr := runCommand(t, "", test.args...)
		if status != test.status || !strings.Contains(stdout+stderr, test.text) {
			t.Errorf("millrace %q: status %d, output %q; want status %d and %q", test.args, status, stdout+stderr, test.status, test.text)
		}
	}
}
