// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"google.golang.org/grpc/credentials"
)

// fileBytesMax bounds a file of tokens.
const fileBytesMax = 64 << 10

// ReadTokens reads a file of tokens: lines of NAME ROLE SECRET; empty lines and those that
// begin with # are passed over. All that is wrong is reported, and no secret with it.
func ReadTokens(path string) ([]Token, error) {
	text, err := readBounded(path, fileBytesMax)
	if err != nil {
		return nil, err
	}
	var tokens []Token
	var problems []error
	for i, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) != 3 {
			problems = append(problems, fmt.Errorf("%s:%d: has %d words, not NAME ROLE SECRET", path, i+1, len(fields)))
			continue
		}
		role, err := ParseRole(fields[1])
		if err != nil {
			problems = append(problems, fmt.Errorf("%s:%d: %w", path, i+1, err))
		}
		tokens = append(tokens, Token{Name: fields[0], Role: role, Secret: fields[2]})
	}
	if len(problems) == 0 && len(tokens) == 0 {
		problems = append(problems, fmt.Errorf("%s: there is no token in it; write lines of NAME ROLE SECRET", path))
	}
	if len(problems) == 0 {
		if _, err := NewKeyring(tokens); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", path, err))
		}
	}
	return tokens, errors.Join(problems...)
}

// ReadSecret reads a file that has one secret and nothing else, for a client.
func ReadSecret(path string) (string, error) {
	text, err := readBounded(path, 2*secretMax)
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(text)
	if err := CheckSecret(secret); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return secret, nil
}

// CheckSecret says why a client cannot send a secret, without the secret.
func CheckSecret(secret string) error {
	if secret == "" {
		return errors.New("the token is empty")
	}
	if problem := checkSendable(secret); problem != "" {
		return fmt.Errorf("the token %s", problem)
	}
	return nil
}

func readBounded(path string, most int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return "", err
	}
	if int64(len(text)) > most {
		return "", fmt.Errorf("%s: has more than %d bytes; it is no file of tokens", path, most)
	}
	return string(text), nil
}

// Bearer are credentials that send a secret with every call of a connection, encrypted or
// not.
func Bearer(secret string) credentials.PerRPCCredentials { return bearer("Bearer " + secret) }

type bearer string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": string(b)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (b bearer) RequireTransportSecurity() bool { return false }

// String keeps the secret out of logs.
func (b bearer) String() string { return "bearer token" }
