// SPDX-License-Identifier: Apache-2.0

// Package access says who may call what of a server: tokens with roles, a table of all calls
// with what each needs, and a guard that holds the calls to it.
//
// The rule is one for HTTP and gRPC. What changes what is served needs the token of an
// operator. What adds data that is learnt from needs the token of a client or an operator,
// unless the server says that it is open. What predicts, decides, reads or reports is open:
// it is the data plane, and a network decides who reaches it. A server without tokens is
// open altogether.
//
// Invariants:
//
//   - A1: a call that the table does not list needs an operator, so that one which is
//     forgotten is closed.
//   - A2: what is open is registered as it came: guarding others costs it nothing.
//   - A3: a secret is compared in constant time and never written anywhere.
//   - A4: a call is refused before its body or message is read.
//
// Concurrency: a Guard and a Keyring may be used from many goroutines.
package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Role is what somebody may do. But for Client, a later one may do what those before it may.
type Role uint8

// The roles: nobody may do nothing; clients are programs that add data and do nothing else;
// viewers look, labellers label, operators change.
const (
	Nobody Role = iota
	Client
	Viewer
	Labeller
	Operator
)

var roleNames = [...]string{"nobody", "client", "viewer", "labeller", "operator"}

func (r Role) String() string { return roleNames[r] }

// ParseRole reads client, viewer, labeller or operator.
func ParseRole(name string) (Role, error) {
	for r := Client; r <= Operator; r++ {
		if roleNames[r] == name {
			return r, nil
		}
	}
	return Nobody, fmt.Errorf("no role %q: there are client, viewer, labeller and operator", name)
}

// Token is a secret by which somebody is known.
type Token struct {
	// Name is who it is, for the audit trail.
	Name   string
	Role   Role
	Secret string
}

// Bounds of a secret, in bytes.
const (
	secretMin = 16
	secretMax = 4096
)

// Keyring finds tokens by their secrets, of which it keeps the digests only.
type Keyring struct{ keys []key }

type key struct {
	digest [sha256.Size]byte
	token  Token // without its secret
}

// NewKeyring checks tokens and reports all that is wrong with them.
func NewKeyring(tokens []Token) (*Keyring, error) {
	var problems []error
	k := &Keyring{}
	names, digests := map[string]bool{}, map[[sha256.Size]byte]string{}
	for i, t := range tokens {
		if t.Name == "" || t.Role == Nobody || t.Role > Operator {
			problems = append(problems, fmt.Errorf("tokens[%d] needs a name and a role", i))
			continue
		}
		if t.Name == selfName {
			problems = append(problems, fmt.Errorf("the name %s is that of the process itself; give another", selfName))
		}
		if names[t.Name] {
			problems = append(problems, fmt.Errorf("%s has two tokens; give each a name of its own", t.Name))
		}
		if problem := checkSecret(t.Secret); problem != "" {
			problems = append(problems, fmt.Errorf("the token of %s %s", t.Name, problem))
		}
		digest := sha256.Sum256([]byte(t.Secret))
		if other, taken := digests[digest]; taken {
			problems = append(problems, fmt.Errorf("%s and %s have the same token; nobody could tell them apart", other, t.Name))
		}
		names[t.Name], digests[digest] = true, t.Name
		k.add(t)
	}
	return k, errors.Join(problems...)
}

func checkSecret(secret string) string {
	if len(secret) < secretMin {
		return fmt.Sprintf("has %d characters; give at least %d", len(secret), secretMin)
	}
	return checkSendable(secret)
}

// checkSendable says why a header cannot carry a secret.
func checkSendable(secret string) string {
	switch {
	case len(secret) > secretMax:
		return fmt.Sprintf("has %d characters; give at most %d", len(secret), secretMax)
	case strings.ContainsFunc(secret, func(r rune) bool { return r < ' ' || r > '~' }) || strings.TrimSpace(secret) != secret:
		return "has what a header cannot carry: give ASCII characters, with no blanks at the ends"
	}
	return ""
}

// add takes a token that was checked.
func (k *Keyring) add(t Token) {
	digest := sha256.Sum256([]byte(t.Secret))
	t.Secret = ""
	k.keys = append(k.keys, key{digest, t})
}

// Len is the number of tokens; a nil Keyring has none.
func (k *Keyring) Len() int {
	if k == nil {
		return 0
	}
	return len(k.keys)
}

// Find returns the token of a secret without the secret, nil if it is nobody's. It takes as
// long for any secret of a length.
func (k *Keyring) Find(secret string) *Token {
	if k == nil {
		return nil
	}
	given := sha256.Sum256([]byte(secret))
	var found *Token
	for i := range k.keys {
		if subtle.ConstantTimeCompare(given[:], k.keys[i].digest[:]) == 1 {
			found = &k.keys[i].token
		}
	}
	return found
}

// SecretOf is the secret that a request carries: behind Bearer or Token, or as the password
// of basic authentication, which is all that some clients can send.
func SecretOf(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	return secretIn(r.Header.Get("Authorization"))
}

func secretIn(header string) string {
	scheme, secret, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "Token") {
		return ""
	}
	return strings.TrimSpace(secret)
}
