// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Mux takes routes, as http.ServeMux does.
type Mux = interface {
	Handle(pattern string, handler http.Handler)
}

// Options configure a Guard.
type Options struct {
	// Tokens are who there is. Without any, everybody may do everything.
	Tokens []Token
	// Open are the needs, of Feedback and Pushes, that are not asked for.
	Open []Need
	// Where says where tokens are from, such as "console.tokens in millrace.yaml".
	Where string
	// Logger is told who changed something. Nil is slog.Default.
	Logger *slog.Logger
	// Changed, unless it is nil, is told of every change of a model that the owner of a
	// token made or tried, before the answer is sent. It is called from many goroutines.
	Changed func(Changed)
}

// Changed is a call that changed a model, or did not.
type Changed struct {
	// By is the name of the token, Call what was called, by its name in the table of calls.
	By, Call string
	Model    string
	// Request and Answer are the messages of a gRPC call, else nil.
	Request, Answer any
	Err             error
}

// Guard holds calls to what they need.
type Guard struct {
	options Options
	keys    *Keyring // nil lets everybody do everything
	self    string
	origin  *http.CrossOriginProtection
	mu      struct {
		sync.Mutex
		calls []Call
	}
}

// Call is one that was registered.
type Call struct {
	// Name is the full name of a gRPC method, or the pattern of a route.
	Name string
	Need Need
	// Listed is false for a call that the table lacks: it needs an operator.
	Listed bool
}

// New makes a guard. The error says what is wrong with the tokens.
func New(o Options) (*Guard, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	g := &Guard{options: o, origin: http.NewCrossOriginProtection()}
	g.options.Tokens = nil // their secrets are not kept
	if len(o.Tokens) == 0 {
		return g, nil
	}
	var err error
	if g.keys, err = NewKeyring(o.Tokens); err != nil {
		return nil, err
	}
	var random [32]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, err
	}
	g.self = hex.EncodeToString(random[:])
	g.keys.add(Token{Name: selfName, Role: Operator, Secret: g.self})
	return g, nil
}

// selfName is who this process is when it calls itself; no other token may have it.
const selfName = "(this server)"

// Guards says whether there are tokens.
func (g *Guard) Guards() bool { return g.keys != nil }

// Self is the secret, of an operator, by which this process calls itself: it was drawn at the
// start and is nobody else's. It is empty where no token is asked for.
func (g *Guard) Self() string { return g.self }

// Calls lists what was registered so far.
func (g *Guard) Calls() []Call {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.mu.calls)
}

// need is what a call needs that is being registered.
func (g *Guard) need(name string) Need {
	need, listed := rule(name)
	g.mu.Lock()
	g.mu.calls = append(g.mu.calls, Call{name, need, listed})
	g.mu.Unlock()
	return need
}

// asks says whether a token is asked for.
func (g *Guard) asks(n Need) bool {
	return g.keys != nil && n != Open && n != Own && !slices.Contains(g.options.Open, n)
}

// refusal is why a call is not served.
type refusal struct {
	unknown bool // who calls is not known, else known and not allowed to
	text    string
}

// check finds out who calls; the error is one for them.
func (g *Guard) check(need Need, secret string) (*Token, *refusal) {
	t := g.keys.Find(secret)
	switch {
	case secret == "":
		return nil, &refusal{true, fmt.Sprintf("this %s, so it needs the token of %s: give one of %s, as authorization: Bearer TOKEN", doing[need], need.who(), g.options.Where)}
	case t == nil:
		return nil, &refusal{true, fmt.Sprintf("the token is none of %s; this %s, so it needs the token of %s", g.options.Where, doing[need], need.who())}
	case !need.allows(t.Role):
		return nil, &refusal{false, fmt.Sprintf("%s is a %s; this %s, so it needs the token of %s", t.Name, t.Role, doing[need], need.who())}
	}
	return t, nil
}

// note logs a change. The process itself logs its own.
func (g *Guard) note(need Need, t *Token, call string) {
	if need == Change && t.Name != selfName {
		g.options.Logger.Info("change", "by", t.Name, "call", call)
	}
}

// tells says whether Changed is told of a call.
func (g *Guard) tells(need Need, t *Token) bool {
	return need == Change && g.options.Changed != nil && t.Name != selfName
}

// HTTP returns a mux that takes routes for another one, with what they need in front.
func (g *Guard) HTTP(into Mux) Mux { return &guardedMux{g, into} }

type guardedMux struct {
	guard *Guard
	into  Mux
}

// Handle takes a route.
func (m *guardedMux) Handle(pattern string, handler http.Handler) {
	need := m.guard.need(pattern)
	if need != Open && need != Own {
		handler = m.guard.handler(pattern, need, handler)
	}
	m.into.Handle(pattern, handler)
}

// handler stands in front of one. A browser may not call it from a page of another site,
// with a token or without: it would say what that page wants.
func (g *Guard) handler(pattern string, need Need, next http.Handler) http.Handler {
	asks := g.asks(need)
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if g.origin.Check(q) != nil {
			refuse(w, http.StatusForbidden, "the request comes from a page of another site")
			return
		}
		if !asks {
			next.ServeHTTP(w, q)
			return
		}
		t, refused := g.check(need, SecretOf(q))
		switch {
		case refused == nil:
			g.note(need, t, pattern)
			q = q.WithContext(context.WithValue(q.Context(), nameKey{}, t.Name))
			model := q.PathValue("model")
			if model == "" || !g.tells(need, t) {
				next.ServeHTTP(w, q)
				return
			}
			answer := &statusWriter{ResponseWriter: w}
			next.ServeHTTP(answer, q)
			g.options.Changed(Changed{By: t.Name, Call: pattern, Model: model, Err: answer.err()})
		case refused.unknown:
			w.Header().Set("WWW-Authenticate", `Bearer realm="millrace"`)
			refuse(w, http.StatusUnauthorized, refused.text)
		default:
			refuse(w, http.StatusForbidden, refused.text)
		}
	})
}

// statusWriter remembers how a request was answered.
type statusWriter struct {
	http.ResponseWriter
	status int // 0 before it is known, which then is 200
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController find what stands behind.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) err() error {
	if w.status < http.StatusBadRequest {
		return nil
	}
	return fmt.Errorf("HTTP status %d, %s", w.status, http.StatusText(w.status))
}

func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text}) // a client that is gone needs no answer
}

type nameKey struct{}

// Name is who makes a call over HTTP: the name of the token, empty if none was asked for or
// this process calls itself.
func Name(ctx context.Context) string {
	name, _ := ctx.Value(nameKey{}).(string)
	if name == selfName {
		return ""
	}
	return name
}

// GRPC returns a registrar that registers services with another one, with what their calls
// need in front.
func (g *Guard) GRPC(into grpc.ServiceRegistrar) grpc.ServiceRegistrar { return &registrar{g, into} }

type registrar struct {
	guard *Guard
	into  grpc.ServiceRegistrar
}

// RegisterService takes a service. Calls that are open keep their very handlers.
func (r *registrar) RegisterService(desc *grpc.ServiceDesc, service any) {
	guarded := *desc
	guarded.Methods, guarded.Streams = slices.Clone(desc.Methods), slices.Clone(desc.Streams)
	for i := range guarded.Methods {
		m := &guarded.Methods[i]
		name := "/" + desc.ServiceName + "/" + m.MethodName
		need := r.guard.need(name)
		if !r.guard.asks(need) {
			continue
		}
		next := m.Handler
		m.Handler = func(service any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
			t, err := r.guard.admit(ctx, need, name)
			if err != nil {
				return nil, err
			}
			if !r.guard.tells(need, t) {
				return next(service, ctx, decode, interceptor)
			}
			c := Changed{By: t.Name, Call: name}
			c.Answer, c.Err = next(service, ctx, func(request any) error {
				c.Request = request
				return decode(request)
			}, interceptor)
			if c.Model = modelIn(c.Request); c.Model != "" {
				r.guard.options.Changed(c)
			}
			return c.Answer, c.Err
		}
	}
	for i := range guarded.Streams {
		s := &guarded.Streams[i]
		name := "/" + desc.ServiceName + "/" + s.StreamName
		need := r.guard.need(name)
		if !r.guard.asks(need) {
			continue
		}
		next := s.Handler
		s.Handler = func(service any, stream grpc.ServerStream) error {
			if _, err := r.guard.admit(stream.Context(), need, name); err != nil {
				return err
			}
			return next(service, stream)
		}
	}
	r.into.RegisterService(&guarded, service)
}

// modelIn is the model that a message names, of either protocol.
func modelIn(request any) string {
	switch r := request.(type) {
	case interface{ GetModel() string }:
		return r.GetModel()
	case interface{ GetModelName() string }:
		return r.GetModelName()
	}
	return ""
}

// admit checks the metadata of a call.
func (g *Guard) admit(ctx context.Context, need Need, name string) (*Token, error) {
	secret := ""
	if values := metadata.ValueFromIncomingContext(ctx, "authorization"); len(values) > 0 {
		secret = secretIn(values[0])
	}
	t, refused := g.check(need, secret)
	switch {
	case refused == nil:
		g.note(need, t, name)
		return t, nil
	case refused.unknown:
		return nil, status.Error(codes.Unauthenticated, refused.text)
	}
	return nil, status.Error(codes.PermissionDenied, refused.text)
}
