// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"net/http"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/serving/access"
)

// labelGuard says who may use the labelling interface: who has a token of the console, as
// `Authorization: Bearer TOKEN` or as the password of basic authentication. Without tokens,
// a server that listens on a loopback address takes everybody who reaches it there.
type labelGuard struct {
	keys   *access.Keyring // nil without tokens
	local  bool
	origin *http.CrossOriginProtection
}

func newLabelGuard(c *projectConsole, address string) (*labelGuard, error) {
	tokens, err := c.secrets()
	if err != nil {
		return nil, err
	}
	if len(tokens) == 0 {
		local := isLocal(net.JoinHostPort(address, "0"))
		return &labelGuard{local: local, origin: http.NewCrossOriginProtection()}, nil
	}
	keys, err := access.NewKeyring(tokens)
	if err != nil {
		return nil, fmt.Errorf("%s: console.tokens: %w", projectFile, err)
	}
	return &labelGuard{keys: keys, origin: http.NewCrossOriginProtection()}, nil
}

// refusal is why a request is not answered.
type refusal struct {
	status int
	text   string
}

// Error is the text.
func (r *refusal) Error() string { return r.text }

// who is the name of whoever asks, if their role is at least role.
func (g *labelGuard) who(r *http.Request, role console.Role) (string, error) {
	if err := g.origin.Check(r); err != nil { // a page of another site, in the browser of somebody who may
		return "", &refusal{http.StatusForbidden, "the request comes from a page of another site"}
	}
	if g.local {
		if !console.IsLoopback(r.Host) || !console.IsLoopback(r.RemoteAddr) {
			return "", &refusal{http.StatusForbidden, "without tokens only this machine is answered, by the name localhost: set console.tokens in " + projectFile}
		}
		return "local", nil
	}
	if g.keys == nil {
		return "", &refusal{http.StatusForbidden, "others can reach this port, so it needs tokens: set console.tokens in " + projectFile}
	}
	t := g.keys.Find(access.SecretOf(r))
	switch {
	case t == nil:
		return "", &refusal{http.StatusUnauthorized, "give a token of console.tokens, as Authorization: Bearer TOKEN"}
	case t.Role < role:
		return "", &refusal{http.StatusForbidden, fmt.Sprintf("%s is a %s, and this is for a %s", t.Name, t.Role, role)}
	}
	return t.Name, nil
}
