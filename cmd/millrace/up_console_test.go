// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/console"
)

func TestConsoleTokens(t *testing.T) {
	t.Setenv("CONSOLE_ANNA", "0123456789abcdef")
	p, err := parseProject(".", "millrace.yaml", []byte("console:\n  tokens:\n    anna: {role: operator, token: \"${CONSOLE_ANNA}\"}\n    wall: {token: \"${CONSOLE_NOBODY_SET}\"}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Console.Tokens) != 2 || p.Console.Tokens[0].Role != console.Operator || p.Console.Tokens[1].Role != console.Viewer {
		t.Fatalf("%+v", p.Console.Tokens)
	}
	if _, err := p.Console.secrets(); err == nil || !strings.Contains(err.Error(), "console.tokens.wall: the environment has no CONSOLE_NOBODY_SET") {
		t.Errorf("a token that is not set: %v", err)
	}
	t.Setenv("CONSOLE_NOBODY_SET", "fedcba9876543210")
	tokens, err := p.Console.secrets()
	if err != nil || tokens[0].Secret != "0123456789abcdef" || tokens[1].Name != "wall" {
		t.Errorf("%+v, %v", tokens, err)
	}
	for text, want := range map[string]string{
		"console: {tokens: {anna: {role: king, token: x}}}": `no role "king"`,
		"console: {tokens: {anna: {role: viewer}}}":         "token is missing",
		"console: {tokens: [a]}":                            "needs a mapping of names",
		"console: {enabled: maybe}":                         "needs true or false",
	} {
		if _, err := parseProject(".", "millrace.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestIsLocal(t *testing.T) {
	for address, want := range map[string]bool{"127.0.0.1:8000": true, "[::1]:8000": true, "localhost:80": true, "0.0.0.0:8000": false, "[::]:8000": false, "10.0.0.1:8000": false, "8000": false} {
		if got := isLocal(address); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}
