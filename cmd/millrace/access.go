// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/spf13/pflag"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/serving"
	"github.com/millrace-ml/millrace/serving/access"
)

// tokenVariable has the token of whoever runs a command.
const tokenVariable = "MILLRACE_TOKEN"

// tokenOptions say which token a command gives a server.
type tokenOptions struct {
	file string
	// secret takes the place of both where this program knows it.
	secret string
}

func (o *tokenOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.file, "token-file", "", "`file` with the token for a server that has tokens (default: $"+tokenVariable+")")
}

// read is the token, empty for none.
func (o *tokenOptions) read() (string, error) {
	if o.secret != "" {
		return o.secret, nil
	}
	if o.file != "" {
		secret, err := access.ReadSecret(o.file)
		if err != nil {
			return "", usageError{fmt.Errorf("--token-file: %w", err)}
		}
		return secret, nil
	}
	secret := os.Getenv(tokenVariable)
	if secret == "" {
		return "", nil
	}
	if err := access.CheckSecret(secret); err != nil {
		return "", usageError{fmt.Errorf("$%s: %w", tokenVariable, err)}
	}
	return secret, nil
}

// tokenAdvice is what to do about a refusal.
const tokenAdvice = "give the token by --token-file or $" + tokenVariable

// accessOptions are the flags of a server that has no project.
type accessOptions struct{ file string }

func (o *accessOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.file, "access-file", "", "`file` with tokens, lines of NAME ROLE SECRET: what changes models or adds data needs one (default: it needs none)")
}

// guard is that of the file.
func (o *accessOptions) guard(log *slog.Logger) (*access.Guard, error) {
	options := access.Options{Where: "the server's --access-file", Logger: log}
	if o.file != "" {
		var err error
		if options.Tokens, err = access.ReadTokens(o.file); err != nil {
			return nil, fmt.Errorf("--access-file: %w", err)
		}
		if info, err := os.Stat(o.file); err == nil && info.Mode().Perm()&0o044 != 0 {
			log.Warn("others on this machine may read the tokens", "file", o.file, "do", "chmod 600")
		}
	}
	return access.New(options)
}

// newGuard is that of the project's tokens.
func (u *up) newGuard() (*access.Guard, error) {
	tokens, err := u.project.Console.secrets()
	if err != nil {
		return nil, err
	}
	g, err := access.New(access.Options{Tokens: tokens, Open: u.project.Server.Open, Where: "console.tokens in " + projectFile, Logger: u.log, Changed: u.changed})
	if err != nil {
		return nil, fmt.Errorf("%s: console.tokens: %w", projectFile, err)
	}
	return g, nil
}

// warnOpen says once that others may change what is served, where that is so.
func warnOpen(log *slog.Logger, g *access.Guard, o *serving.Options, remedy string) {
	if g.Guards() {
		return
	}
	for _, l := range []net.Listener{o.HTTP, o.GRPC} {
		if l != nil && !isLocal(l.Addr().String()) {
			log.Warn("there are no tokens: whoever reaches the ports may change what is served and add data", "set", remedy+", or listen on 127.0.0.1")
			return
		}
	}
}

// tokenFor is the token that a task gives a server: the process's own if it is this
// process, which no other server may see, else that of whoever runs the pipeline.
func (h *taskHost) tokenFor(address string) string {
	if h.self != "" && (sameServer(address, h.server) || sameServer(address, h.http)) {
		return h.self
	}
	return h.token
}

// sameServer says whether a client's address is that of a listener.
func sameServer(address, listener string) bool {
	if address == listener {
		return true
	}
	host, port, err := net.SplitHostPort(address)
	own, ownPort, ownErr := net.SplitHostPort(listener)
	if err != nil || ownErr != nil || port != ownPort {
		return false
	}
	ip := net.ParseIP(own)
	return ip != nil && ip.IsUnspecified() && console.IsLoopback(host)
}

// calledBy is who makes a change over HTTP, for the audit trail: the token's name, which
// counts, and what a caller says of itself.
func calledBy(name, said string) string {
	if name == "" || said == "" || said == name {
		return cmp.Or(name, said, "api")
	}
	return name + ", for " + said
}
