// SPDX-License-Identifier: Apache-2.0

package console

import (
	"container/list"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/serving/access"
)

// Role and Token are those of the whole server.
type (
	Role  = access.Role
	Token = access.Token
)

// The roles of people; clients, which are programs, have no business here.
const (
	Nobody   = access.Nobody
	Viewer   = access.Viewer
	Labeller = access.Labeller
	Operator = access.Operator
)

// Access says who may use the console.
type Access struct {
	Tokens []Token
	// Local lets everybody in as operator who reaches the console under a loopback address:
	// for trials on one's own machine, where the server listens there alone.
	Local bool
}

// keyring is what tokens are found by.
func (a *Access) keyring() (*access.Keyring, error) {
	if len(a.Tokens) == 0 && !a.Local {
		return nil, errors.New("console: nobody may sign in: give tokens, or listen on a loopback address")
	}
	k, err := access.NewKeyring(a.Tokens)
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	return k, nil
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
	keys  *access.Keyring
	local bool
	now   func() time.Time
	mu    struct {
		sync.Mutex
		byID  map[string]*list.Element
		order *list.List // of *session, the oldest first
	}
}

func newSessions(keys *access.Keyring, local bool, now func() time.Time) *sessions {
	s := &sessions{keys: keys, local: local, now: now}
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
	if s.local && IsLoopback(r.Host) && IsLoopback(r.RemoteAddr) {
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
