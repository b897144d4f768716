// SPDX-License-Identifier: Apache-2.0

package console

import (
	"container/list"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Role is what somebody may do; a later one may do what those before it may.
type Role uint8

// The roles: nobody may do nothing; viewers look, labellers label, operators change.
const (
	Nobody Role = iota
	Viewer
	Labeller
	Operator
)

var roleNames = [...]string{"nobody", "viewer", "labeller", "operator"}

func (r Role) String() string { return roleNames[r] }

// ParseRole reads viewer, labeller or operator.
func ParseRole(name string) (Role, error) {
	for r := Viewer; r <= Operator; r++ {
		if roleNames[r] == name {
			return r, nil
		}
	}
	return Nobody, fmt.Errorf("no role %q: there are viewer, labeller and operator", name)
}

// Token is a secret by which somebody signs in.
type Token struct {
	// Name is who it is, for the audit trail.
	Name   string
	Role   Role
	Secret string
}

// secretMin bounds how short a secret may be.
const secretMin = 16

// Access says who may use the console.
type Access struct {
	Tokens []Token
	// Local lets everybody in as operator who reaches the console under a loopback address:
	// for trials on one's own machine, where the server listens there alone.
	Local bool
}

func (a *Access) validate() error {
	var problems []error
	for i, t := range a.Tokens {
		if t.Name == "" || t.Role == Nobody || t.Role > Operator {
			problems = append(problems, fmt.Errorf("console: tokens[%d] needs a name and a role", i))
		}
		if len(t.Secret) < secretMin {
			problems = append(problems, fmt.Errorf("console: the token of %s has %d characters; give at least %d", t.Name, len(t.Secret), secretMin))
		}
	}
	if len(a.Tokens) == 0 && !a.Local {
		problems = append(problems, errors.New("console: nobody may sign in: give tokens, or listen on a loopback address"))
	}
	return errors.Join(problems...)
}

// Find returns the token of a secret, nil if it is none's. It takes as long for any.
func (a *Access) Find(secret string) *Token {
	given := sha256.Sum256([]byte(secret))
	var found *Token
	for i := range a.Tokens {
		own := sha256.Sum256([]byte(a.Tokens[i].Secret))
		if subtle.ConstantTimeCompare(given[:], own[:]) == 1 {
			found = &a.Tokens[i]
		}
	}
	return found
}

// Bounds of sessions.
const (
	sessionAge    = 12 * time.Hour
	sessionsMax   = 10_000
	sessionCookie = "millrace_session"
)

// session is somebody who signed in.
type session struct {
	id   string
	who  string
	role Role
	ends time.Time
}

// sessions are in memory: after a restart people sign in again. The oldest is forgotten
// when there are too many.
type sessions struct {
	access Access
	now    func() time.Time
	mu     struct {
		sync.Mutex
		byID  map[string]*list.Element
		order *list.List // of *session, the oldest first
	}
}

func newSessions(a Access, now func() time.Time) *sessions {
	s := &sessions{access: a, now: now}
	s.mu.byID, s.mu.order = map[string]*list.Element{}, list.New()
	return s
}

// start begins a session.
func (s *sessions) start(t *Token) (*session, error) {
	var random [32]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, err
	}
	n := &session{id: hex.EncodeToString(random[:]), who: t.Name, role: t.Role, ends: s.now().Add(sessionAge)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.order.Len() >= sessionsMax {
		s.removeLocked(s.mu.order.Front())
	}
	s.mu.byID[n.id] = s.mu.order.PushBack(n)
	return n, nil
}

// removeLocked needs s.mu held.
func (s *sessions) removeLocked(e *list.Element) {
	delete(s.mu.byID, e.Value.(*session).id)
	s.mu.order.Remove(e)
}

func (s *sessions) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.mu.byID[id]; e != nil {
		s.removeLocked(e)
	}
}

// of is the session of a request; one of nobody if there is none.
func (s *sessions) of(r *http.Request) *session {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		s.mu.Lock()
		e := s.mu.byID[cookie.Value]
		if e != nil && s.now().After(e.Value.(*session).ends) {
			s.removeLocked(e)
			e = nil
		}
		s.mu.Unlock()
		if e != nil {
			return e.Value.(*session)
		}
	}
	// The name that the browser used counts, not only where the request came from: a page of
	// another host whose name was made to point here must not get in.
	if s.access.Local && IsLoopback(r.Host) && IsLoopback(r.RemoteAddr) {
		return &session{who: "local", role: Operator}
	}
	return &session{}
}

// IsLoopback says whether an address, or a name with or without a port, is this machine's.
func IsLoopback(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = strings.Trim(hostPort, "[]")
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
